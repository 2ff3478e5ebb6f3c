"""`angarium demo`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from angarium import config
from angarium.config import Settings
from angarium.demo import audience
from angarium.demo.show import Show
from angarium.demo.stage import Stage, port
from angarium.errors import ConfigurationError

if TYPE_CHECKING:
    from angarium.demo.outcome import Outcome
    from angarium.demo.scene import Scene, Target

app = typer.Typer()
MARK: Final = "this folder is angarium demo's"
"""Name of the file by which the demo knows a folder it may empty."""
LOOK_EVERY: Final = 0.5
SPEED: Final = 300.0
"""15 minutes become 3 seconds."""


@app.command()
def demo(
    recipients: Annotated[int, typer.Option(min=1, max=1_000_000, help="People in the audience.")] = 2_000,
    speed: Annotated[float, typer.Option(min=1, help="Retry rules' delays run so much faster.")] = SPEED,
    smtp: Annotated[str, typer.Option(metavar="HOST:PORT", help="Send there, not to the sandbox.")] = "",
    nodes: Annotated[int, typer.Option(min=1, max=8, help="MTA nodes.")] = 1,
    data: Annotated[Path, typer.Option(help="Folder for everything; emptied first.")] = Path("var/demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Go on with what a former demo left there.")] = False,
    web_port: Annotated[int, typer.Option("--port", help="Of the panel; another one if it is taken.")] = 8080,
    leave: Annotated[bool, typer.Option("--exit", help="End when every message has its end.")] = False,
    report: Annotated[Path | None, typer.Option("--json", help="Write the outcome to this file.")] = None,
) -> None:
    """Watch a mailing go out: everything on this machine, and a sandbox instead of the internet."""
    console = Console(stderr=str(report) == "-")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    prepare(data, keep)
    settings, environment = surroundings(data.absolute(), web_port, speed)
    with stopping(console, Stage(data.absolute()), interrupted=130 if leave else 0) as stage:
        scene, launch = launched(console, stage, settings, environment, smtp, nodes, recipients)
        console.print(f"Retry rules run {speed:g} times faster than in earnest (--speed).")
        outcome = follow(console, stage, scene, launch)
        if report:
            write(report, time.monotonic() - began, outcome)
        if not leave:
            console.print("The panel stays; Ctrl-C stops everything.")
            stay(stage)
    if not outcome.is_over:
        raise typer.Exit(1)


def prepare(folder: Path, keep: bool) -> None:
    """An empty folder, or the one a former demo left. Raises `ConfigurationError` for any other."""
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise ConfigurationError(f"{folder} is not a demo's folder; name another one with --data")
        if not keep:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def surroundings(folder: Path, web_port: int, speed: float) -> tuple[Settings, dict[str, str]]:
    """The settings of the demo, and the environment that gives them to its processes."""
    chosen, listener = port(web_port), port(8081 if web_port != 8081 else 8082)
    environment = os.environ | {
        "ANGARIUM_DATA": str(folder),
        "ANGARIUM_WEB__PORT": str(chosen),
        "ANGARIUM_LISTENER__PORT": str(listener),
        "ANGARIUM_LISTENER__PUBLIC_URL": f"http://127.0.0.1:{listener}",
        "ANGARIUM_MTA__NODE": node_name(1),
        "ANGARIUM_MTA__ALLOW_LOOPBACK": "true",
        "ANGARIUM_MTA__RULES_SPEED": str(speed),
        "ANGARIUM_LOG__FORMAT": "json",
    }
    settings = config.load(environment=environment)
    config.use(settings)
    return settings, environment


def node_name(number: int) -> str:
    return f"node-{number}"


def launched(
    console: Console, stage: Stage, settings: Settings, environment: dict[str, str],
    smtp: str, nodes: int, recipients: int,
) -> tuple[Scene, int]:  # fmt: skip
    """Starts everything, brings the audience in and asks for the launch."""
    with console.status("Starting the services …"):
        target = receiver(stage, settings, smtp)
        start(stage, settings, environment, nodes)
    from angarium.demo import scene as scenes
    from angarium.store import launches

    password = scenes.person()
    console.print(f"Panel: http://{settings.web.host}:{settings.web.port}/")
    console.print(f"Login: {scenes.LOGIN}  Password: {password}", highlight=False)
    scene = scenes.build(target, [node_name(number) for number in range(1, nodes + 1)])
    with console.status(f"Importing {recipients:,} people …"):
        bring_in(settings, scene, recipients, real=not smtp)
    return scene, launches.request(scene.account, scene.mailing)


def receiver(stage: Stage, settings: Settings, smtp: str) -> Target:
    """Where all mail goes: the sandbox, or what `--smtp` names."""
    from angarium.store import database

    database.setup(settings)
    from angarium.demo.scene import Target

    if not smtp:
        return Target("127.0.0.1", stage.start_sandbox(settings.data / "sink.jsonl"))
    host, _, number = smtp.rpartition(":")
    if not host or not number.isdigit():
        raise ConfigurationError(f"--smtp {smtp}: write HOST:PORT")
    return Target(host.strip("[]"), int(number))


def start(stage: Stage, settings: Settings, environment: dict[str, str], nodes: int) -> None:
    stage.start("angarium", "up", environment=environment)
    stage.wait_for(settings, ("web", "launcher", "mta", "recorder"))
    for number in range(2, nodes + 1):
        own = environment | {"ANGARIUM_MTA__NODE": node_name(number)}
        stage.start("angarium", "run", "mta", environment=own)
        stage.wait_for(config.load(environment=own), ("mta",))


def bring_in(settings: Settings, scene: Scene, recipients: int, real: bool) -> None:
    """Imports the audience from a file, as anybody would."""
    from angarium.demo.scene import suppress
    from angarium.domain.contact import email_address
    from angarium.store import imports

    people = list(audience.people(recipients))
    if not real:
        people = [audience.reserved(person) for person in people]
    path = settings.data / "audience.csv"
    path.write_bytes(audience.as_csv(people))
    imports.run(scene.account, path, resource=scene.resource, into=scene.audience)
    suppress(scene.account, [email_address(person.email).contact for person in audience.silent(people)])


def follow(console: Console, stage: Stage, scene: Scene, launch: int) -> Outcome:
    """Shows progress until every message has its end, or the launch has failed."""
    from angarium.demo import outcome

    with Show(console, "News of the week") as show:
        while True:
            now = outcome.read(scene.account, scene.mailing, launch)
            show.update(now)
            if now.is_over or now.state in ("failed", "paused", "stopped"):
                return now
            stage.check()
            time.sleep(LOOK_EVERY)


def write(path: Path, seconds: float, outcome: Outcome) -> None:
    figures: dict[str, Any] = {"seconds": round(seconds, 1), "mailings": [outcome.as_json()]}
    text = json.dumps(figures)
    if str(path) == "-":
        print(text, flush=True)
    else:
        path.write_text(text + "\n")


def stay(stage: Stage) -> None:
    while True:
        stage.check()
        time.sleep(1)


@contextmanager
def stopping(console: Console, stage: Stage, interrupted: int) -> Iterator[Stage]:
    """Whatever happens, nothing is left running. `interrupted`: the exit code after Ctrl-C."""
    try:
        yield stage
    except KeyboardInterrupt:
        raise typer.Exit(interrupted) from None
    finally:
        with console.status("Stopping …"):
            stage.close()
