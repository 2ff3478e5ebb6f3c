"""How fast mail is relayed, here and by Postfix, on the same machine in the same run.

Each side takes the same number of messages of the same size, one recipient each, over the same four
domains, keeps each on disk before it counts as taken, and sends it to the same `smtp-sink` over at most
twenty connections. The clock runs from the first message offered to the last one in the sink, read the
same way on both sides. Ours come as a launch's packets to the broker and are unlike each other; the
recorder runs. Postfix's come from `smtp-source`, one a domain, which can only send the same text again
and again: that costs Postfix nothing, since it does not compress. Ours are made before the clock starts,
his while it runs, for less than a tenth of the CPU time that Postfix takes itself.

With DKIM: RSA-2048 on both sides, relaxed/relaxed; Postfix signs by OpenDKIM.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from bench import corpus, postfix
from bench.ours import Angarium
from bench.postfix import Postfix
from bench.process import Usage, tree
from bench.sink import Sink, free_port

PATIENCE: Final = 300.0
"""Seconds a run may take."""
SMTP_SOURCE_HEADERS: Final = 200
"""Octets, about; the probe corrects it."""


class Result(msgspec.Struct, frozen=True):
    """One run of one side."""

    side: str
    dkim: bool
    messages: int
    seconds: float
    parts: dict[str, Usage]
    size: int
    """Octets of one message on the wire."""
    recorded: float = 0.0
    """Seconds until the recorder had written every delivery, on the same clock."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds a message, of all processes."""
        return sum(used.cpu for used in self.parts.values()) / self.messages


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    console = Console(stderr=options.json == "-")
    if not shutil.which("smtp-sink"):
        console.print("smtp-sink is not installed: make services")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="angarium-bench-", dir=options.folder) as folder:
            report = measure(options, Path(folder), console)
    except (TimeoutError, RuntimeError) as error:
        console.print(f"The measurement failed: {error}")
        return 1
    show(report, console)
    write(summary(report), options.json)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench relay", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--no-postfix", action="store_true", help="measure our side alone")
    parser.add_argument("--no-dkim", action="store_true", help="leave the runs with DKIM out")
    parser.add_argument("--no-launch", action="store_true", help="leave the launcher's rate out")
    parser.add_argument("--json", help="file for the figures, or - for one line on standard output")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure (default: %(default)s)")
    parser.add_argument("--profile", type=Path, help="folder for profiles of our processes, by py-spy")
    return parser.parse_args(argv)


class Report(msgspec.Struct):
    results: list[Result]
    signatures: float
    """RSA-2048 signatures a second that OpenSSL makes on all cores."""
    launch: float | None
    cores: int


def measure(options: argparse.Namespace, folder: Path, console: Console) -> Report:
    key = folder / "dkim.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    results = []
    reason = "left out" if options.no_postfix else postfix.why_not()
    if reason:
        console.print(f"Postfix: {reason}")
    for dkim in (None,) if options.no_dkim else (None, key):
        with console.status("Angarium " + ("with DKIM" if dkim else "without DKIM")):
            results.append(measure_ours(options, folder, dkim))
        if not reason:
            with console.status("Postfix " + ("with OpenDKIM" if dkim else "without DKIM")):
                results.append(measure_postfix(options, folder, dkim, results[-1].size))
    return Report(
        results,
        0.0 if options.no_dkim else openssl_signatures(),
        None if options.no_launch else launch_rate(),
        os.cpu_count() or 1,
    )


@contextmanager
def installation(
    side: Callable[[Path, int, Path | None], Any], folder: Path, key: Path | None, keep: Path | None = None
) -> Iterator[tuple[Any, Sink]]:
    """A fresh installation of one side, and the sink it relays to."""
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        folder.chmod(0o755)
        sink = stack.enter_context(Sink(free_port(), keep))
        yield stack.enter_context(side(own, sink.port, key)), sink


def measure_ours(options: argparse.Namespace, folder: Path, key: Path | None) -> Result:
    size = probe(Angarium, lambda side: side.offer(corpus.packets(1, side.origin).packets), folder, key)
    with installation(Angarium, folder, key) as (side, sink):
        offered = corpus.packets(options.messages, side.origin)
        before = side.usage()
        with profiling(side, options.profile, key):
            began = time.monotonic()
            side.offer(offered.packets)
            ended = sink.wait(offered.messages, PATIENCE)
            recorded = side.wait_until_recorded(offered.messages, PATIENCE)
        parts = {**grown(before, side.usage()), "smtp-sink": tree(sink.process.pid)}
    return Result(side.name, key is not None, offered.messages, ended - began, parts, size, recorded - began)


def measure_postfix(options: argparse.Namespace, folder: Path, key: Path | None, size: int) -> Result:
    def offer_one(side: Postfix) -> None:
        side.offer(1, size - SMTP_SOURCE_HEADERS, corpus.DOMAINS)

    seen = probe(Postfix, offer_one, folder, key)
    length = size - SMTP_SOURCE_HEADERS + (size - seen)
    with installation(Postfix, folder, key) as (side, sink):
        before, spent = side.usage(), children_cpu()
        began = time.monotonic()
        sources = side.offer(options.messages, length, corpus.DOMAINS)
        ended = sink.wait(options.messages, PATIENCE)
        parts = {**grown(before, side.usage()), "smtp-sink": tree(sink.process.pid)}
        postfix.wait_for(sources, PATIENCE)
        parts["smtp-source"] = Usage(children_cpu() - spent, 0)
    return Result(side.name, key is not None, options.messages, ended - began, parts, size)


def probe(
    side: Callable[[Path, int, Path | None], Any],
    offer: Callable[[Any], object],
    folder: Path,
    key: Path | None,
) -> int:
    """One message's octets on the wire. Raises `RuntimeError` when it is not signed though it should be."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as keep,
        installation(side, folder, key, Path(keep)) as (one, sink),
    ):
        offer(one)
        sink.wait(1, 60.0)
        kept = next(Path(keep).iterdir()).read_bytes()
    text = strip_envelope(kept)
    if (message_from_bytes(text)["DKIM-Signature"] is not None) != (key is not None):
        raise RuntimeError(f"{one.name}: the message is {'not ' if key else ''}signed")
    return len(text) + text.count(b"\n")


def strip_envelope(kept: bytes) -> bytes:
    """Without the fields smtp-sink puts before a message it keeps: X-… and its own Received."""
    return re.sub(rb"\A(?:X-[^\n]*\n)*Received: [^\n]*\n(?:[ \t][^\n]*\n)*", b"", kept, count=1)


def grown(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, Usage]:
    """CPU since then; the peak is the whole life's."""
    return {
        name: Usage(used.cpu - before.get(name, Usage(0, 0)).cpu, used.peak) for name, used in after.items()
    }


def children_cpu() -> float:
    """Seconds of this process's children that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


@contextmanager
def profiling(side: Angarium, folder: Path | None, key: Path | None) -> Iterator[None]:
    """Samples each of our processes with py-spy, where a folder is named."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    kind = "dkim" if key else "plain"
    options = ["--nonblocking", "--format", "raw", "--function", "--rate", "250", "--duration", "600"]
    samplers = [
        subprocess.Popen(
            [program, "record", *options, "--pid", str(pid), "--output", str(folder / f"{kind}-{name}.txt")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for name, pid in side.pids().items()
    ]  # fmt: skip
    try:
        yield
    finally:
        for sampler in samplers:
            sampler.send_signal(2)  # py-spy writes what it has
            sampler.wait()


def openssl_signatures() -> float:
    """RSA-2048 signatures a second on all cores."""
    shown = subprocess.run(
        ["openssl", "speed", "-seconds", "3", "-multi", str(os.cpu_count() or 1), "rsa2048"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    line = next(line for line in shown.splitlines() if line.startswith("rsa 2048"))
    return float(line.split()[5])


def launch_rate() -> float | None:
    """Messages a second of the launcher alone, on one core; its own benchmark says how."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "launch", "--json", "-"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    return (
        round(float(json.loads(lines[-1])["launch_per_second"]), 1) if not done.returncode and lines else None
    )


def find(report: Report, side: str, dkim: bool) -> Result | None:
    return next((one for one in report.results if (one.side, one.dkim) == (side, dkim)), None)


def ratio(report: Report, dkim: bool) -> float | None:
    ours, other = find(report, Angarium.name, dkim), find(report, Postfix.name, dkim)
    return round(ours.rate / other.rate, 2) if ours and other else None


def cpu_ratio(report: Report, dkim: bool) -> float | None:
    """Of the CPU time a message takes, everything counted; steadier than the rate on a busy machine."""
    ours, other = find(report, Angarium.name, dkim), find(report, Postfix.name, dkim)
    return round(other.cpu / ours.cpu, 2) if ours and other else None


def summary(report: Report) -> dict[str, Any]:
    """What `--json` writes."""
    signed = find(report, Angarium.name, True)
    return {
        "ratio": ratio(report, False),
        "ratio_dkim": ratio(report, True),
        "cpu_ratio": cpu_ratio(report, False),
        "cpu_ratio_dkim": cpu_ratio(report, True),
        "dkim_share_of_openssl": round(signed.rate / report.signatures, 3) if signed else None,
        "launch_per_second": report.launch,
        "openssl_signatures_per_second": report.signatures or None,
        "cores": report.cores,
        "runs": [described(one) for one in report.results],
    }


def described(result: Result) -> dict[str, Any]:
    return {
        "side": result.side,
        "dkim": result.dkim,
        "messages": result.messages,
        "octets": result.size,
        "seconds": round(result.seconds, 2),
        "messages_per_second": round(result.rate, 1),
        "recorded_after_seconds": round(result.recorded, 2) or None,
        "cpu_ms_per_message": {
            name: round(1_000 * used.cpu / result.messages, 3) for name, used in result.parts.items()
        },
        "peak_mb": {name: round(used.peak / 1e6) for name, used in result.parts.items() if used.peak},
    }


def show(report: Report, console: Console) -> None:
    table = Table("", "messages/s", "octets", "CPU ms a message", "peak memory, MB")
    for result in report.results:
        told = described(result)
        table.add_row(
            f"{result.side}{' with DKIM' if result.dkim else ''}",
            f"{result.rate:,.0f}",
            f"{result.size:,}",
            "\n".join(f"{name} {value:.2f}" for name, value in told["cpu_ms_per_message"].items()),
            "\n".join(f"{name} {value}" for name, value in told["peak_mb"].items()),
        )
    console.print(table)
    for name, value in summary(report).items():
        if name != "runs" and value is not None:
            console.print(f"{name}: {value}")


def write(figures: dict[str, Any], where: str | None) -> None:
    if where == "-":
        print(json.dumps(figures), flush=True)
    elif where:
        Path(where).write_text(json.dumps(figures) + "\n")
