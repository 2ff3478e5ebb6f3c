"""The broker's folder: its lock, and its socket whatever the length of the path.

A Unix socket's address holds 107 octets. Where the folder's path is longer the socket is named
through a file descriptor of the folder, which is always short.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from angarium.errors import ConfigurationError

SOCKET_NAME: Final = "broker.sock"
LOCK_NAME: Final = "broker.lock"
DATABASE_NAME: Final = "broker.sqlite"
ADDRESS_OCTETS: Final = 107


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes this process the only broker of the folder.

    Raises `ConfigurationError` when another one is, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the broker cannot use its folder {folder}: {error.strerror}") from error
    try:
        _lock(lock, folder)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 20, 0).decode().strip() or "unknown"
        raise ConfigurationError(
            f"{folder} is already served by a broker, process {owner}: stop that one first"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


@contextmanager
def socket_address(folder: Path) -> Iterator[str]:
    """An address of the folder's socket, good while the context is open."""
    path = str(folder.absolute() / SOCKET_NAME)
    if len(os.fsencode(path)) <= ADDRESS_OCTETS:
        yield path
        return
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


def listening_socket(folder: Path) -> socket.socket:
    """Binds the folder's socket, replacing one left by a killed broker. Call it with the lock held."""
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listening.setblocking(False)
    with socket_address(folder) as address:
        listening.bind(address)
    (folder / SOCKET_NAME).chmod(0o600)
    listening.listen(128)
    return listening
