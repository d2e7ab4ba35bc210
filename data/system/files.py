"""Files and folders: reading tables, replacing files atomically, errors in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).resolve().parents[2]  # the project: the folder of the two scripts


class InputError(Exception):
    """The user's input cannot be used; the message is one sentence: what, where, how to fix it."""


def one_line(error: BaseException) -> str:
    """An exception's message as part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def why(error: BaseException) -> str:
    """The reason for an error as part of a sentence, if possible in the system's own words."""
    return getattr(error, "strerror", None) or one_line(error)


def printable(name: object) -> str:
    """A path, or another text, on one line and valid in UTF-8.

    File names on Linux are bytes: those that are not UTF-8 become \\xe9, a line break becomes \\n.
    """
    text = os.fsencode(str(name)).decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text
    )


def check_file(path: Path, fix: str) -> None:
    """Raise InputError if a path is no regular file: it is missing, a pipe or a device.

    `fix` says how to fix a missing one, as part of a sentence.
    """
    if not path.exists():
        link = path.is_symlink() and " (it is a link that leads nowhere)" or ""
        raise InputError(f"{path} does not exist{link}; {fix}.")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device; write it to a file first and give that.")


def find_data(name: str) -> Path | None:
    """data/<name>.csv, .csv.gz or, as Kaggle packs it, .zip: the first that exists, or None."""
    endings = (".csv", ".csv.gz", ".zip", ".csv.zip")
    candidates = (HERE / "data" / f"{name}{ending}" for ending in endings)
    return next((path for path in candidates if path.exists()), None)


def read_table(path: Path | str) -> Iterator[pd.DataFrame]:
    """Yield a CSV, plain, .gz or .zip, as pandas data frames of text, 256 rows at a time.

    Raises InputError if it cannot be read or has no rows.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the CSV file in it.")
    check_file(path, "check the path, or see data/README.md")
    rows = 0
    # As text: pandas would read True as 1, and guess the types of each chunk separately.
    options: dict[str, Any] = {"dtype": str, "encoding": "utf-8-sig"}
    try:
        with open_table(path) as source:
            header = list(pd.read_csv(source, nrows=0, **options).columns)
        if separator := other_separator(header):
            raise InputError(
                f"{path} separates its columns by {separator}; save it with commas between the"
                " columns, and with points in its decimal numbers."
            )
        with (
            open_table(path) as source,
            pd.read_csv(source, chunksize=256, **options) as chunks,
        ):
            for chunk in chunks:
                if len(chunk):
                    yield chunk
                rows += len(chunk)
    except InputError:
        raise
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty; it should start with a line of column names.") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not UTF-8 text; save it as a plain UTF-8 CSV, or download it again."
        ) from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} is not a CSV that can be read ({one_line(error)}); fix that line, or save"
            " the table as CSV again."
        ) from None
    except Exception as error:  # the decompressors raise a dozen kinds
        raise InputError(
            f"{path} cannot be read ({one_line(error)}); download it again. It must be one CSV,"
            " plain, as .gz or alone in a .zip."
        ) from None
    if not rows:
        raise InputError(
            f"{path} has a header ({columns_in(header)}) but no rows; it needs at least one row."
        )


def columns_in(header: Iterable[object]) -> str:
    """The first names of a header as part of a sentence: they show what kind of file it is."""
    names = [printable(name).strip()[:40] for name in header]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def record_path(model: Path) -> Path:
    """The path of a model's record: my_model.json, or my_model.tflite.json for an export."""
    if model.suffix == ".keras":
        return model.with_suffix(".json")
    return model.with_name(f"{model.name}.json")


@contextlib.contextmanager
def open_table(path: Path) -> Iterator[Any]:
    """What pandas can read a CSV from: the path, the unpacked .gz, or the only CSV in a .zip.

    The first bytes decide which it is, not the name: some browsers unpack downloads. Files that
    macOS and Windows add to archives are ignored. Raises InputError if the archive has no CSV or
    more than one.
    """
    with open(path, "rb") as file:
        start = file.read(4)
        if not start.startswith((b"PK\3\4", b"PK\5\6")):
            file.seek(0)
            if start.startswith(b"\x1f\x8b"):
                yield gzip.GzipFile(fileobj=file)
            else:  # pandas recognises other endings
                yield file if path.suffix.lower() in (".gz", ".zip") else path
            return
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if not re.search(JUNK, name)]
        if len(files) != 1:
            files = [name for name in files if name.lower().endswith(".csv")] or files
        if len(files) != 1:
            held = ", ".join(files[:4]) + (", …" if len(files) > 4 else "") or "nothing"
            raise InputError(
                f"{path} holds {printable(held)}; it must hold one CSV. A table may be plain, as"
                " .gz or alone in a .zip: unpack the archive and name the CSV in it."
            )
        with archive.open(files[0]) as file:
            yield file


JUNK = r"/$|^__MACOSX/|(^|/)(\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$"


def other_separator(header: list[str]) -> str | None:
    """What separates a table's columns instead of commas, in words; None if it is commas.

    `header`: the first line, split at commas.
    """
    text = ",".join(header)
    names = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}
    for separator, name in names.items():
        words = [word.strip(" \t\"'") for word in text.split(separator)]
        known = {"Image", "ImageId", "RowId"} & set(words)
        if len(words) > len(header) and known and not known & {h.strip() for h in header}:
            return name
    return None


def make_folder(path: Path) -> None:
    """Make a folder and check that it can be written to, before hours of training."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = why(error)
        if path.exists() and not path.is_dir():
            reason = "it is a file, not a folder"
        raise InputError(f"{path} cannot be written to ({reason}); choose another.") from None


def make_empty_folder(path: Path) -> None:
    """`make_folder` for labels to correct: raises InputError as well if it has files, which may be
    corrections."""
    if path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"{path} has files and may hold corrections; rename or delete it, or choose another"
            " folder by --results."
        )
    make_folder(path)


def replace_file(path: Path | str, write: Callable[[Path], object]) -> None:
    """Replace a file atomically: a kill at any moment leaves the earlier file or the new one.

    `write(temporary)` writes to a path beside `path` with the same ending, which is then renamed.
    Raises InputError if that fails, for instance because the disk is full.
    """
    path = Path(path)
    # At most as long as the file's own name: file systems allow 255 bytes.
    short = len(os.fsencode(path.name)) < 200
    stem = path.stem if short else hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.with_name(f".{stem}.{os.getpid()}{path.suffix}")
    try:
        left_by_kills = re.compile(rf"\.{re.escape(stem)}\.\d+{re.escape(path.suffix)}")
        for left in path.parent.iterdir():
            if left_by_kills.fullmatch(left.name) and left.stat().st_mtime < time.time() - 3600:
                left.unlink(missing_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({why(error)}); what was there"
            " before is untouched: free some space, or choose another folder."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """`replace_file` with a text, in UTF-8 whatever the user's locale is."""
    replace_file(path, lambda file: file.write_text(text, encoding="utf-8"))
