"""A private Postfix that receives mail for every domain into files: own configuration, queue and data."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

INSTALL = "Postfix is not installed: apt-get install postfix (no service needs to run)"
PATIENCE = 60.0
_DAEMONS = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix")
_MAIN = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "command_directory": "/usr/sbin",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "mx.example",
    "mydestination": "",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtpd_peername_lookup": "no",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "mynetworks": "127.0.0.0/8",
    "smtputf8_enable": "yes",
    "virtual_mailbox_domains": "static:all",
    "virtual_mailbox_maps": "static:mail/",
    "virtual_minimum_uid": "1",
    "maillog_file": "/dev/stdout",
}
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
showq unix n - n - - showq
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """`settings` go into main.cf after ours; `services` replaces master.cf (`{port}` is filled in)."""

    def __init__(self, folder: Path, services: str = _SERVICES, **settings: str) -> None:
        if os.geteuid() != 0:
            pytest.skip("Postfix is started by root alone")
        if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None:
            raise RuntimeError(INSTALL)
        self.port = _free_port()
        self._folder = folder
        self._conf = folder / "conf"
        self._mail = folder / "mail"
        self._lay_out(services, settings)

    def __enter__(self) -> Postfix:
        self._log = (self._folder / "log").open("wb")
        self._master = subprocess.Popen(
            ["postfix", "-c", str(self._conf), "start-fg"], stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            if time.monotonic() > deadline or self._master.poll() is not None:
                raise RuntimeError(f"Postfix did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["postfix", "-c", str(self._conf), "stop"], capture_output=True, check=False)
        self._master.wait()
        self._log.close()

    def received(self, count: int) -> list[bytes]:
        """The messages as files, once there are `count`, in the order they came."""
        deadline = time.monotonic() + PATIENCE
        while (
            len(files := sorted(self._mail.glob("mail/new/*"), key=lambda path: path.stat().st_mtime_ns))
            < count
        ):
            if time.monotonic() > deadline:
                log = (self._folder / "log").read_text()[-3000:]
                raise TimeoutError(f"{len(files)} of {count} messages came; {log}")
            time.sleep(0.05)
        return [path.read_bytes() for path in files]

    def _lay_out(self, services: str, settings: dict[str, str]) -> None:
        user = pwd.getpwnam("postfix")
        for part in (self._conf, self._folder / "queue", self._folder / "data", self._mail):
            part.mkdir(parents=True)
        os.chown(self._folder / "data", user.pw_uid, 0)
        os.chown(self._mail, user.pw_uid, user.pw_gid)
        for parent in (self._folder, *self._folder.parents):
            if parent.owner() == "root" and parent != Path("/tmp") and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o755)
        merged = {
            **_MAIN,
            "daemon_directory": next(place for place in _DAEMONS if Path(place).is_dir()),
            "queue_directory": str(self._folder / "queue"),
            "data_directory": str(self._folder / "data"),
            "virtual_mailbox_base": str(self._mail),
            "virtual_uid_maps": f"static:{user.pw_uid}",
            "virtual_gid_maps": f"static:{user.pw_gid}",
            **settings,
        }
        lines = [f"{name} = {value}\n" for name, value in merged.items()]
        (self._conf / "main.cf").write_text("".join(lines))
        (self._conf / "master.cf").write_text(services.format(port=self.port))

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
