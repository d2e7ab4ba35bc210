"""A lock on the files that a training writes: one training at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from data.system.files import InputError

LOCKED_BYTE = 1 << 30  # Windows locks bytes, which nobody else can read then: one past the text


@contextlib.contextmanager
def locked(path: Path, what: str, fix: str) -> Iterator[None]:
    """Hold the lock of `path` while the block runs; a file beside it names the holder.

    The operating system keeps the lock and releases it when the process dies, however it dies.
    On file systems without locks nothing is locked.

    Args:
        path: the file or folder to lock; the lock file is `.<name>.lock` beside the file, or
            `.training.lock` in the folder.
        what, fix: for the message: what is being written, and what to do instead.

    Raises InputError if another process, or another thread of this one, holds the lock.
    """
    lock = path / ".training.lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    try:
        handle = acquire(lock)
    except BlockingIOError:
        raise InputError(f"{what} is being written by {holder(lock)}; {fix}.") from None
    except OSError:  # a file system without locks, as some network drives
        yield
        return
    try:
        yield
    finally:
        if os.name == "nt":  # Windows does not remove open files
            os.close(handle)
        with contextlib.suppress(OSError):
            lock.unlink()
        if os.name != "nt":  # unlocked last: whoever waits for the lock sees that its file is gone
            os.close(handle)


def acquire(lock: Path) -> int:
    """Lock a file, write into it who holds it, and return its handle. Raises BlockingIOError."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_handle(handle)
            same = is_file_at(lock, handle)
        except BaseException:
            os.close(handle)
            raise
        if same:
            break
        os.close(handle)  # its holder removed the file while we opened it
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    who = {"process": os.getpid(), "machine": socket.gethostname(), "since": started}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(who).encode())
    return handle


def is_file_at(path: Path, handle: int) -> bool:
    """Whether an open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def lock_handle(handle: int) -> None:
    """Lock an open file for this handle only. Raises BlockingIOError if it is locked already."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            raise BlockingIOError from None
        os.lseek(handle, 0, os.SEEK_SET)
        return
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(lock: Path) -> str:
    """The holder of a lock, in words."""
    try:
        who = json.loads(lock.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['machine']} since {who['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
