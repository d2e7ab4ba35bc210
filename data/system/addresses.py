"""Photos at addresses such as s3://bucket/photo.jpg, read by fsspec."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from data.system.files import InputError, one_line

# A `Path` keeps one of the two slashes. Letters of drives have one letter.
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)", re.DOTALL)


def address_of(path: Path) -> str | None:
    """The address that a path stands for, such as s3://bucket/photo.jpg; None for a file's path."""
    found = ADDRESS.fullmatch(path.as_posix())
    return f"{found[1]}://{found[2]}" if found else None


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """The file at a path, or a copy of what is at its address while the block runs.

    Raises InputError if fsspec is missing, or if nothing can be read there; one that is raised in
    the block names the address.
    """
    address = address_of(path)
    if address is None or path.exists():
        yield path
        return
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise InputError(
            f"{address} needs fsspec, and s3fs for s3, gcsfs for gs: pip install fsspec s3fs"
        ) from None
    with TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        try:
            with fsspec.open(address, "rb") as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target)
        except Exception as error:  # each kind of address has its own
            raise InputError(f"{address} cannot be read ({one_line(error)}).") from None
        try:
            yield copy
        except InputError as problem:
            raise InputError(str(problem).replace(str(copy), address)) from None
