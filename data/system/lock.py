"""A lock on what a training writes: one at a time, and a dead process holds none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from data.system.files import InputError

FAR = 1 << 30  # Windows locks bytes, and then nobody else may read them: one behind the text


@contextlib.contextmanager
def locked(path: Path, what: str, mend: str) -> Iterator[None]:
    """Hold the lock of `path` while the block runs; a file beside it says who does.

    The operating system keeps the lock and takes it from a process that dies, however it dies.
    Where the file system has no locks, nothing is locked.

    Args:
        path: the file or folder that is written; the lock is `.<name>.lock` beside it, or in it.
        what, mend: for the message: what is being written, and what to do instead.

    Raises InputError if somebody else, or another thread of this process, holds it.
    """
    lock = path / ".training.lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    try:
        handle = acquire(lock)
    except BlockingIOError:
        raise InputError(f"{what} is being written by {holder(lock)}; {mend}.") from None
    except OSError:  # no locks here, as on some network drives
        yield
        return
    try:
        yield
    finally:
        if os.name == "nt":  # which keeps a file that is open
            os.close(handle)
        with contextlib.suppress(OSError):
            lock.unlink()
        if os.name != "nt":  # unlocked last: whoever waits for it sees that the file is gone
            os.close(handle)


def acquire(lock: Path) -> int:
    """The handle of the locked file, with who holds it as text. Raises BlockingIOError."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_handle(handle)
            same = lock.exists() and os.path.samestat(os.fstat(handle), lock.stat())
        except BaseException:
            os.close(handle)
            raise
        if same:
            break
        os.close(handle)  # its holder removed it while we opened it
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    who = {"process": os.getpid(), "machine": socket.gethostname(), "since": started}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(who).encode())
    return handle


def lock_handle(handle: int) -> None:
    """Lock an open file for this handle alone. Raises BlockingIOError if another one has it."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            raise BlockingIOError from None
        os.lseek(handle, 0, os.SEEK_SET)
        return
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(lock: Path) -> str:
    """Who holds a lock, in words."""
    try:
        who = json.loads(lock.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['machine']} since {who['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another training"
