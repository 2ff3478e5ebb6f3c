"""A made-up audience: the same people for the same number, names in several scripts, real providers' domains.

Nobody here exists, and nothing is sent to these domains: the demo's route leads all mail to the sandbox.
Where mail goes to a server that may pass it on, `reserved` puts names in their place that can never belong
to anybody (RFC 2606).
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

SEED: Final = 20
COLUMNS: Final = ("email", "first_name", "last_name", "city", "language", "points")
HELD_BACK: Final = 100
"""One of so many people asked not to be written to."""


class Person(NamedTuple):
    email: str
    first_name: str
    last_name: str
    city: str
    language: str
    points: int


class Culture(NamedTuple):
    """Where names come from; each name with its spelling in an address."""

    language: str
    share: int
    first: tuple[tuple[str, str], ...]
    last: tuple[tuple[str, str], ...]
    cities: tuple[str, ...]
    domains: tuple[str, ...]
    """Large ones are named more often."""


CULTURES: Final = (
    Culture(
        "en", 8,
        (("Alice", "alice"), ("James", "james"), ("Olivia", "olivia"), ("Siobhán", "siobhan")),
        (("Baker", "baker"), ("O’Neill", "oneill"), ("Taylor", "taylor"), ("Hughes", "hughes")),
        ("London", "Dublin", "Boston", "Toronto"),
        ("gmail.com", "gmail.com", "gmail.com", "outlook.com", "yahoo.com", "icloud.com", "acme.example"),
    ),
    Culture(
        "ru", 6,
        (("Анна", "anna"), ("Дмитрий", "dmitry"), ("Мария", "maria"), ("Фёдор", "fedor"), ("Юлия", "yulia")),
        (("Кузнецова", "kuznetsova"), ("Щербаков", "shcherbakov"), ("Орлова", "orlova"), ("Жуков", "zhukov")),
        ("Москва", "Казань", "Новосибирск", "Йошкар-Ола"),
        ("mail.ru", "mail.ru", "yandex.ru", "yandex.ru", "gmail.com", "rambler.ru", "почта.example"),
    ),
    Culture(
        "de", 4,
        (("Jürgen", "juergen"), ("Zoë", "zoe"), ("Lukas", "lukas"), ("Änne", "aenne")),
        (("Müller", "mueller"), ("Groß", "gross"), ("Schäfer", "schaefer"), ("Weiß", "weiss")),
        ("Köln", "München", "Zürich", "Wien"),
        ("gmx.de", "web.de", "t-online.de", "gmail.com", "bücher.example"),
    ),
    Culture(
        "es", 3,
        (("Íñigo", "inigo"), ("Lucía", "lucia"), ("José", "jose"), ("Begoña", "begona")),
        (("Muñoz", "munoz"), ("García", "garcia"), ("Ibáñez", "ibanez")),
        ("Málaga", "Córdoba", "Bogotá"),
        ("gmail.com", "hotmail.com", "yahoo.es", "correo.example"),
    ),
    Culture(
        "el", 1,
        (("Ελένη", "eleni"), ("Γιώργος", "giorgos"), ("Δήμητρα", "dimitra")),
        (("Παπαδοπούλου", "papadopoulou"), ("Νικολάου", "nikolaou")),
        ("Αθήνα", "Θεσσαλονίκη"),
        ("gmail.com", "yahoo.gr", "παράδειγμα.example"),
    ),
    Culture(
        "ja", 1,
        (("さくら", "sakura"), ("健太", "kenta"), ("陽子", "yoko")),
        (("佐藤", "sato"), ("鈴木", "suzuki"), ("田中", "tanaka")),
        ("東京", "大阪"),
        ("yahoo.co.jp", "gmail.com", "例え.example"),
    ),
    Culture(
        "ar", 1,
        (("ليلى", "layla"), ("يوسف", "yusuf"), ("مريم", "maryam")),
        (("حداد", "haddad"), ("منصور", "mansour")),
        ("القاهرة", "بيروت"),
        ("gmail.com", "outlook.sa", "hotmail.com"),
    ),
)  # fmt: skip
OWN_SCRIPT: Final = 12
"""Of the people with a domain in their own script, one of so many writes the mailbox in it too (RFC 6531)."""


def people(count: int, seed: int = SEED) -> Iterator[Person]:
    """That many people with addresses all different; the same for the same arguments."""
    chance = random.Random(seed)
    for number in range(count):
        culture = chance.choices(CULTURES, [culture.share for culture in CULTURES])[0]
        yield _person(culture, number, chance)


def _person(culture: Culture, number: int, chance: random.Random) -> Person:
    first, spelled_first = chance.choice(culture.first)
    last, spelled_last = chance.choice(culture.last)
    domain = chance.choice(culture.domains)
    mailbox = f"{spelled_first}.{spelled_last}{number}"
    if not domain.isascii() and number % OWN_SCRIPT == 0:
        mailbox = f"{first}.{last}{number}".lower()
    city = chance.choice(culture.cities)
    return Person(f"{mailbox}@{domain}", first, last, city, culture.language, chance.randrange(5_000))


def reserved(person: Person) -> Person:
    """The same person at a domain that nobody can have."""
    mailbox, _, domain = person.email.rpartition("@")
    name = domain if domain.endswith(".example") else f"{domain.replace('.', '-')}.example"
    return person._replace(email=f"{mailbox}@{name}")


def silent(audience: Sequence[Person]) -> Sequence[Person]:
    """Those who asked not to be written to."""
    return audience[HELD_BACK::HELD_BACK]


def as_csv(audience: Iterable[Person]) -> bytes:
    """A file as people bring it: UTF-8, a line of column names first."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(audience)
    return text.getvalue().encode()
