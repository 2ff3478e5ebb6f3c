"""`python -m angarium.broker.embedded --folder FOLDER`: the broker's process, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from angarium.broker.embedded.server import RESERVE_BYTES, serve
from angarium.errors import ConfigurationError


async def _serve_until_told(folder: Path, reserve: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(folder, stop, reserve=reserve)


def main() -> None:
    parser = argparse.ArgumentParser(prog="angarium.broker.embedded", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where the broker keeps its file and socket"
    )
    parser.add_argument(
        "--reserve", type=int, default=RESERVE_BYTES, help="bytes of disk that publishes leave free"
    )
    arguments = parser.parse_args()
    try:
        uvloop.run(_serve_until_told(arguments.folder, arguments.reserve))
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
