"""Postfix as a relay, with OpenDKIM where signing is asked for: the other side of the comparison.

Everything private: configuration, queue and data folder. The queue is on the same disk as our spool and
is flushed as Postfix always does. The settings are those that relayed most here: no lookups, no limits,
twenty connections to the sink, each message over a connection of its own (keeping connections costs
Postfix more than it saves on a loopback), no input throttle.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.process import Usage, tree
from bench.sink import free_port, wait_for_port

DOMAIN: Final = "bench.example"
_PLACES: Final = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix")
_MAIN: Final = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "command_directory": "/usr/sbin",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": f"relay.{DOMAIN}",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "disable_dns_lookups": "yes",
    "smtp_tls_security_level": "none",
    "smtpd_peername_lookup": "no",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_recipient_restrictions": "",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "in_flow_delay": "0",
    "default_process_limit": "200",
    "initial_destination_concurrency": "20",
    "default_destination_concurrency_limit": "20",
    "smtp_connection_cache_on_demand": "no",
}
_SERVICES: Final = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
_OPENDKIM: Final = """\
Mode s
Domain {domain}
Selector bench
KeyFile {key}
Socket inet:{port}@127.0.0.1
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
UserID opendkim
UMask 007
Background no
Syslog no
RequireSafeKeys no
"""
SESSIONS_A_DOMAIN: Final = 5


def why_not() -> str:
    """What stands in the way of running Postfix here; empty: nothing."""
    if os.geteuid() != 0:
        return "Postfix can be measured by root alone"
    missing = [name for name in ("postfix", "smtp-sink", "smtp-source") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)} (make services)" if missing else ""


class Postfix:
    """A running instance that relays everything to a port of this machine."""

    name = "Postfix"

    def __init__(self, folder: Path, relay_to: int, dkim_key: Path | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.opendkim = _start_opendkim(folder, dkim_key) if dkim_key else None
        _lay_out(folder, self.port, relay_to, self.opendkim and self.opendkim[1])
        self.master = subprocess.Popen(
            ["postfix", "-c", str(folder / "conf"), "start-fg"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_port(self.port)

    def offer(self, count: int, size: int, domains: Sequence[str]) -> list[subprocess.Popen[bytes]]:
        """Starts one `smtp-source` a domain, `count` messages of `size` octets in all."""
        shares = [count // len(domains) + (place < count % len(domains)) for place in range(len(domains))]
        return [
            subprocess.Popen(
                ["smtp-source", "-4", "-d", "-N", "-l", str(size), "-m", str(share),
                 "-s", str(min(SESSIONS_A_DOMAIN, share)), "-f", f"news@{DOMAIN}", "-t", f"reader@{domain}",
                 "-S", "News of the week", f"127.0.0.1:{self.port}"]
            )
            for domain, share in zip(domains, shares, strict=True) if share
        ]  # fmt: skip

    def usage(self) -> dict[str, Usage]:
        parts = {"postfix": tree(self.master.pid)}
        if self.opendkim:
            parts["opendkim"] = tree(self.opendkim[0].pid)
        return parts

    def close(self) -> None:
        subprocess.run(["postfix", "-c", str(self.folder / "conf"), "stop"], capture_output=True, check=False)
        self.master.wait()
        if self.opendkim:
            self.opendkim[0].terminate()
            self.opendkim[0].wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _lay_out(folder: Path, port: int, relay_to: int, milter: int | None) -> None:
    conf = folder / "conf"
    for part in (conf, folder / "queue", folder / "data"):
        part.mkdir()
    owner = pwd.getpwnam("postfix")
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    _open_the_way_to(folder)
    settings = _MAIN | {
        "daemon_directory": next(place for place in _PLACES if Path(place).is_dir()),
        "queue_directory": str(folder / "queue"),
        "data_directory": str(folder / "data"),
        "relayhost": f"[127.0.0.1]:{relay_to}",
    }
    if milter:
        settings |= {"smtpd_milters": f"inet:127.0.0.1:{milter}", "milter_default_action": "tempfail"}
    (conf / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (conf / "master.cf").write_text(_SERVICES.format(port=port))


def _start_opendkim(folder: Path, key: Path) -> tuple[subprocess.Popen[bytes], int]:
    port, own_key = free_port(), folder / "dkim.pem"
    shutil.copy(key, own_key)
    owner = pwd.getpwnam("opendkim")
    os.chown(own_key, owner.pw_uid, owner.pw_gid)
    own_key.chmod(0o600)
    _open_the_way_to(folder)
    config = folder / "opendkim.conf"
    config.write_text(_OPENDKIM.format(domain=DOMAIN, key=own_key, port=port))
    process = subprocess.Popen(["opendkim", "-f", "-x", str(config)])
    wait_for_port(port)
    return process, port


def _open_the_way_to(folder: Path) -> None:
    """Postfix's and OpenDKIM's own users must reach what is theirs."""
    folder.chmod(0o755)


def wait_for(injectors: Sequence[subprocess.Popen[bytes]], timeout: float) -> None:
    """Until all injectors have ended. Raises `RuntimeError` when one failed."""
    deadline = time.monotonic() + timeout
    for injector in injectors:
        if code := injector.wait(max(1.0, deadline - time.monotonic())):
            raise RuntimeError(f"smtp-source failed with {code}")
