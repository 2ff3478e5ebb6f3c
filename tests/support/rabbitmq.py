"""A private RabbitMQ node: its own folder, ports and name daemon, on the loopback only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

INSTALL = "RabbitMQ is not installed: apt-get install rabbitmq-server (no service needs to run)"
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RabbitMQ:
    """Start it with `start`; `kill` and `start` again keep its data. `stop` when done."""

    def __init__(self, folder: Path) -> None:
        server = SERVER if SERVER.exists() else Path(shutil.which("rabbitmq-server") or "")
        epmd = shutil.which("epmd")
        if not server.is_file() or epmd is None:
            raise RuntimeError(INSTALL)
        self._server, self._epmd = str(server), epmd
        self._folder = folder
        self._port, self._dist_port, self._epmd_port = free_port(), free_port(), free_port()
        self._name = f"angarium{self._port}@localhost"
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.console = false\n"
            "log.file.level = warning\n"
        )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    @property
    def pid(self) -> int:
        return self._processes[-1].pid

    def start(self, timeout: float = 180) -> None:
        """Returns when the node takes connections."""
        if not self._processes:
            self._run(self._epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1")
        self._run(self._server)
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "output.txt").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"RabbitMQ did not start:\n{log}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to the whole node, without a farewell."""
        os.killpg(self._processes[-1].pid, signal.SIGKILL)
        self._processes.pop().wait()

    def wait_until_registered(self, queue: str, timeout: float = 30) -> None:
        """Returns when the node would know the queue again after a SIGKILL.

        RabbitMQ 3.10 writes the table of quorum queues' names some three seconds after a queue's creation;
        killed before, it begins the queue anew, empty.
        """
        deadline = time.monotonic() + timeout
        while not any(f"_{queue}".encode() in table.read_bytes() for table in self._name_tables()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not write down the queue {queue}")
            time.sleep(0.1)

    def _name_tables(self) -> list[Path]:
        return list((self._folder / "data").glob("*/quorum/*/names.dets"))

    def stop(self) -> None:
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def control(self, *arguments: str) -> str:
        """`rabbitmqctl`; slow."""
        command = [str(Path(self._server).with_name("rabbitmqctl")), "--node", self._name, *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def _run(self, *command: str) -> None:
        with (self._folder / "output.txt").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    command,
                    env=self._environment(),
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    def _answers(self) -> bool:
        """AMQP 0-9-1's greeting is answered by Connection.Start, a method frame."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }
