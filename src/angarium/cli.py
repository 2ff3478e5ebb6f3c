"""The command line: `angarium COMMAND`. Each command's module is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from angarium import __version__
from angarium.errors import AngariumError

COMMANDS: Final = {
    "up": ("angarium.commands.up", "Start everything on this machine."),
    "run": ("angarium.commands.run", "Run one service."),
    "demo": ("angarium.commands.demo", "Watch a mailing go out, with a sandbox instead of the internet."),
    "check-config": ("angarium.commands.check_config", "Show the settings in force and their origin."),
    "health": ("angarium.commands.health", "Ask the services how they are."),
    "migrate": ("angarium.commands.migrate", "Bring the database to this version."),
    "user": ("angarium.commands.user", "People who may log in."),
    "import": ("angarium.commands.importing", "Import profiles from a CSV file."),
    "mailing": ("angarium.commands.mailing", "Create, launch and follow mailings."),
    "queue": ("angarium.commands.queue", "Watch, freeze, hold and clear what waits to be sent."),
    "retry-rule": ("angarium.commands.retry_rule", "What happens after a temporary failure."),
    "default-rule": ("angarium.commands.default_rule", "Retry rules where a sender has none of its own."),
    "strategy": ("angarium.commands.strategy", "Sending speed."),
    "sender": ("angarium.commands.sender", "What carries the messages of a channel."),
    "node": ("angarium.commands.node", "The sending servers."),
    "ip": ("angarium.commands.ip", "The addresses that mail leaves from."),
    "isp": ("angarium.commands.isp", "Mailbox providers."),
    "route": ("angarium.commands.route", "Where mail for a domain goes instead of its MX."),
    "dkim": ("angarium.commands.dkim", "Signing keys and their DNS records."),
    "bounce-pattern": ("angarium.commands.bounce_pattern", "How SMTP replies are read."),
    "account": ("angarium.commands.account", "Tenants, and who may work in them."),
    "token": ("angarium.commands.token", "Keys to the API."),
    "bounce": ("angarium.commands.bounce", "Read SMTP replies by the bounce patterns."),
}  # fmt: skip
"""Name → module with a typer `app`, and the line `--help` shows."""
FAILED: Final = 2


class LazyCommand(TyperCommand):
    """Stands for a command in listings; becomes it when called."""

    module = ""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        app = importlib.import_module(self.module).app
        app._add_completion = False
        command = typer.main.get_command(app)
        command.name = self.name
        return command.make_context(*args, **kwargs)


class LazyGroup(TyperGroup):
    """The commands of the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, line = COMMANDS[cmd_name]
        command = LazyCommand(cmd_name, help=line)
        command.module = module
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[
        Path | None, typer.Option(help="Settings file.", envvar="ANGARIUM_CONFIG", show_default=False)
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Launches mailings and carries every message to an end: delivered, or undelivered with a reason."""
    if config is not None:  # the services this process starts read the same file
        os.environ["ANGARIUM_CONFIG"] = str(config.absolute())


def main() -> None:
    """Entry point. What people can mend is told in a line, without a traceback."""
    try:
        app()
    except AngariumError as error:
        print(f"angarium: {error}", file=sys.stderr)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
