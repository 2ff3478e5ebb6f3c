"""Audience files into the control database, on both kinds of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from angarium.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("control_database")


class Scene:
    """An account with a resource and a list, and a way to import text."""

    def __init__(self) -> None:
        from angarium.web.access.models import Account
        from angarium.web.directory.models import ProfileList, Resource

        self.account = Account.objects.create(name="Alice's shop").pk
        self.resource = Resource.objects.create(account_id=self.account, name="News").pk
        self.list = ProfileList.objects.create(account_id=self.account, name="Everybody").pk

    def take(self, text: str | bytes, **options: Any) -> Any:
        from angarium.store import imports

        content = text.encode() if isinstance(text, str) else text
        return imports.run(
            self.account,
            io.BytesIO(content),
            resource=self.resource,
            into=self.list,
            filename="people.csv",
            **options,
        )

    def subscriptions(self) -> dict[str, str]:
        from angarium.web.directory.models import Subscription

        return dict(Subscription.objects.order_by("pk").values_list("address", "status"))

    def attributes(self, key: str) -> dict[str, Any]:
        from angarium.web.directory.models import Profile

        found: dict[str, Any] = Profile.objects.get(account_id=self.account, key=key).attributes
        return found

    def mark(self, address: str, status: str) -> None:
        from angarium.web.directory.models import Subscription

        Subscription.objects.filter(address=address).update(status=status)

    def members(self) -> int:
        from angarium.web.directory.models import ListEntry

        return ListEntry.objects.filter(list_id=self.list).count()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_import_makes_profiles_subscriptions_and_list_entries(scene: Scene) -> None:
    done = scene.take("email,name,age\nAnna@Example.com,Anna,42\nпётр@почта.рф,Пётр,007\n")
    assert (done.state, done.lines, done.created, done.subscribed) == ("finished", 2, 2, 2)
    assert scene.subscriptions() == {"Anna@example.com": "subscribed", "пётр@почта.рф": "subscribed"}
    assert scene.attributes("anna@example.com") == {"name": "Anna", "age": 42}
    assert scene.attributes("пётр@xn--80a1acny.xn--p1ai") == {"name": "Пётр", "age": "007"}
    assert scene.members() == 2


def test_the_same_file_twice_changes_nothing(scene: Scene) -> None:
    text = "email,name\n" + "".join(f"u{number}@example.com,N{number}\n" for number in range(2_500))
    scene.take(text)
    again = scene.take(text)
    assert (again.created, again.updated, again.unchanged, again.subscribed) == (0, 0, 2_500, 0)
    assert scene.members() == len(scene.subscriptions()) == 2_500


def test_new_values_replace_old_ones_and_other_attributes_stay(scene: Scene) -> None:
    scene.take("email,name,city\na@example.com,Anna,Riga\n")
    done = scene.take("email,name\na@example.com,Ann\nA@EXAMPLE.com,Anne\n")
    assert (done.created, done.updated) == (0, 2)
    assert scene.attributes("a@example.com") == {"name": "Anne", "city": "Riga"}


@pytest.mark.parametrize("status", ["unsubscribed", "complained", "hardbounced"])
def test_nobody_who_left_is_subscribed_again(scene: Scene, status: str) -> None:
    scene.take("email\na@example.com\n")
    scene.mark("a@example.com", status)
    scene.take("email,state\na@example.com,subscribed\n", status="state")
    assert scene.subscriptions() == {"a@example.com": status}


def test_a_status_column_can_end_subscriptions(scene: Scene) -> None:
    scene.take("email\na@example.com\nb@example.com\n")
    done = scene.take(
        "email,state\na@example.com,Unsubscribed\nb@example.com,\nc@example.com,gone\n", status="state"
    )
    assert scene.subscriptions() == {"a@example.com": "unsubscribed", "b@example.com": "subscribed"}
    assert done.rejected == 1


def test_with_an_own_key_a_changed_address_moves_the_subscription(scene: Scene) -> None:
    scene.take("id,email\n1,old@example.com\n2,left@example.com\n", key="id")
    scene.mark("old@example.com", "hardbounced")
    scene.mark("left@example.com", "unsubscribed")
    scene.take("id,email\n1,new@example.com\n2,again@example.com\n", key="id")
    assert scene.subscriptions() == {"new@example.com": "subscribed", "again@example.com": "unsubscribed"}


def test_rejected_lines_are_reported_with_number_reason_and_text(scene: Scene) -> None:
    report = io.StringIO()
    done = scene.take(
        'email,name\ngood@example.com,x\nnobody,y\na@example.com,1,2\nb@example.com,"open\nc@example.com,z\n',
        report=report,
    )
    assert (done.lines, done.created, done.rejected) == (5, 2, 3)
    from angarium.web.directory.models import ImportRun

    kept = ImportRun.objects.get(pk=done.run).rejections
    assert [(one["line"], one["text"]) for one in kept] == [
        (3, "nobody,y"), (4, "a@example.com,1,2"), (5, 'b@example.com,"open'),
    ]  # fmt: skip
    assert report.getvalue().splitlines()[0] == "line,reason,text"
    assert len(report.getvalue().splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"name,city\nAnna,Riga\n", "no column 'email'"),
        ("email,имя\n".encode("utf-16"), "UTF-16"),
        (b"email,a,a\nx@example.com,1,2\n", "twice"),
        (b'email,"name\nx@example.com,1\n', "not closed"),
    ],
)
def test_a_file_without_a_usable_header_is_refused_in_words(
    scene: Scene, content: bytes, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        scene.take(content)
    assert scene.members() == 0
    from angarium.web.directory.models import ImportRun

    assert ImportRun.objects.get().state == "failed"


def test_what_was_imported_before_an_unreadable_point_stays(scene: Scene) -> None:
    good = "".join(f"u{number}@example.com\n" for number in range(2_000))
    done = scene.take("email\n" + good + "x" * 2_000_000)
    assert done.state == "failed"
    assert "longer than" in done.error
    assert "which are imported" in done.error
    assert scene.members() >= 1_000


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (lambda text: text.encode("cp1251"), None),
        (lambda text: text.encode("utf-8"), None),
        (lambda text: text.encode("utf-8-sig"), None),
        (lambda text: text.encode("cp1251"), "cp1251"),
        (lambda text: text.replace(";", "\t").encode(), None),
    ],
)
def test_encodings_and_delimiters_are_recognised(
    scene: Scene, encode: Callable[[str], bytes], encoding: str | None
) -> None:
    scene.take(encode("email;имя;город\r\na@example.com;Юлия;Йошкар-Ола\r\n"), encoding=encoding)
    assert scene.attributes("a@example.com") == {"имя": "Юлия", "город": "Йошкар-Ола"}


def test_another_accounts_list_is_refused(scene: Scene) -> None:
    other = Scene.__new__(Scene)
    from angarium.store import imports
    from angarium.web.access.models import Account

    other.account = Account.objects.create(name="Bob's shop").pk
    with pytest.raises(InvalidInput, match="no list"):
        imports.run(other.account, io.BytesIO(b"email\na@example.com\n"), into=scene.list)


def test_progress_is_told_after_each_batch(scene: Scene) -> None:
    told: list[tuple[int, int]] = []
    text = "email\n" + "".join(f"u{number}@example.com\n" for number in range(2_500))
    began = time.monotonic()
    scene.take(text, progress=lambda now: told.append((now.lines, now.bytes_read)))
    print(f"{2_500 / (time.monotonic() - began):,.0f} rows/s")
    assert told[-1] == (2_500, len(text))
    assert [lines for lines, _ in told] == [1_000, 2_000, 2_500, 2_500]
