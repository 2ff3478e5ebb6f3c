"""The reference names everything there is, and every link of the documentation leads somewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from angarium import config
from angarium.broker import topology
from angarium.domain.outcome import Reason
from angarium.events import Event, EventKind
from angarium.services import SERVICES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


def missing(names: list[str], page: str) -> list[str]:
    return [name for name in names if f"`{name}" not in page]


def test_every_setting_is_in_the_reference() -> None:
    page = reference("settings")
    for name, field in config.Settings.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        if section is None:
            assert f"| `{name}` |" in page
        else:
            part = page.split(f"## `[{name}]`")[1].split("\n## ")[0]
            assert [key for key in section if f"| `{key}` |" not in part] == [], name


def test_every_queue_is_in_the_reference() -> None:
    queues = [topology.EVENTS, topology.DEAD]
    queues += [
        function("<id>").replace("<id>", f"<{owner}_id>")  # type: ignore[operator]
        for function, owner in (
            (topology.mta_queue, "sender"),
            (topology.priority_queue, "sender"),
            (topology.node_queue, "node"),
        )
    ]
    assert missing(queues, reference("queues")) == []
    assert missing(queues, (DOCS / "architecture.md").read_text()) == []


def test_every_event_field_and_reason_is_in_the_reference() -> None:
    page = reference("events")
    assert missing([str(kind) for kind in EventKind], page) == []
    assert missing(list(Event.__struct_fields__), page) == []
    assert [reason for reason in Reason if f"- {reason}\n" not in page] == []


def test_every_service_is_in_the_architecture() -> None:
    assert missing([service.name for service in SERVICES], (DOCS / "architecture.md").read_text()) == []


def test_every_table_is_in_the_glossary() -> None:
    page = (DOCS / "glossary.md").read_text()
    models = (ROOT / "src" / "angarium" / "web").rglob("models.py")
    tables = [name for path in models for name in re.findall(r'db_table = "(\w+)"', path.read_text())]
    assert tables
    assert [name for name in tables if f"`{name}`" not in page] == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference as the code has it now, written by a process of its own: it opens Django."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "scripts" / "reference"), str(folder)],
        check=True, timeout=120, env={**os.environ, "ANGARIUM_DATA": str(folder / "data")},
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["cli", "api"])
def test_every_command_and_operation_is_in_the_reference(name: str, written: Path) -> None:
    line = re.compile(r"^(?:## `.*`|\| `(?:GET|POST|PUT|PATCH|DELETE) .*?` \||\| `--.*?` \|)", re.MULTILINE)
    page = reference(name)
    new = [found for found in line.findall((written / f"{name}.md").read_text()) if found not in page]
    assert new == [], "run scripts/reference"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, heading = target.partition("#")
        page = (path.parent / place).resolve() if place else path
        assert page.exists(), f"{path.name} names {target}"
        if heading:
            assert heading in anchors(page), f"{path.name} names {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    seen, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        waiting += [
            (page.parent / target.partition("#")[0]).resolve()
            for target in LINK.findall(page.read_text())
            if ":" not in target and target.partition("#")[0]
        ]
    lost = [str(page.relative_to(ROOT)) for page in PAGES if page not in seen and DOCS in page.parents]
    assert lost == []


def test_python_in_the_documentation_parses() -> None:
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            ast.parse(block)
