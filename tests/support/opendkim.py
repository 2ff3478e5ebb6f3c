"""OpenDKIM as a verifier: what it says of each signature of a message."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

INSTALL = "OpenDKIM is not installed: apt-get install opendkim (no service needs to run)"


def verify(message: bytes, records: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Selector → `pass`, `fail` or another result of RFC 8601, for the message's DKIM signatures.

    `records`: DNS name → text, in place of the DNS. The message is as on the wire, dots unstuffed.
    """
    program = shutil.which("opendkim", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin")
    assert program, INSTALL
    keys, config, mail = folder / "keys", folder / "opendkim.conf", folder / "message"
    keys.write_text("".join(f"{name} {text.replace(chr(34), '')}\n" for name, text in records.items()))
    config.write_text(f"Mode v\nRequireSafeKeys no\nSyslog no\nTestPublicKeys {keys}\n")
    mail.write_bytes(message)
    command = [program, "-x", str(config), "-t", str(mail), "-v", "-v"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.findall(r"dkim=(\w+)[^;]*?header\.s=([^\s;]+)", said.stdout + said.stderr)
    return {selector: result for result, selector in found}
