"""Files and folders: reading tables, writing whole or not at all, saying what is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).resolve().parents[1]  # the project: the folder of the two scripts


class InputError(Exception):
    """What the user gave cannot be used: one sentence that says what, where and how to mend it."""


def one_line(error: BaseException) -> str:
    """An exception's message as part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def find_data(name: str) -> Path | None:
    """data/<name>.csv, .csv.gz or, as Kaggle packs it, .zip: the first that is there; else None."""
    endings = (".csv", ".csv.gz", ".zip", ".csv.zip")
    candidates = (HERE / "data" / f"{name}{ending}" for ending in endings)
    return next((path for path in candidates if path.exists()), None)


def read_table(path: Path | str) -> Iterator[pd.DataFrame]:
    """Yield a CSV, plain, .gz or .zip, as pandas data frames of text, a few hundred rows at a time.

    Raises InputError if it cannot be read or has no row below its header.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the CSV file in it.")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path, or see data/README.md.")
    rows = 0
    try:
        # As text: pandas would read True as 1, and guess anew for every few hundred rows.
        with pd.read_csv(path, chunksize=256, dtype=str, encoding="utf-8-sig") as chunks:
            for chunk in chunks:
                if len(chunk):
                    yield chunk
                rows += len(chunk)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty; it should start with a line of column names.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as a plain UTF-8 CSV.") from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} is not a CSV that can be read ({one_line(error)}); mend that line, or save"
            " the table as CSV again."
        ) from None
    except Exception as error:  # the decompressors raise a dozen kinds
        raise InputError(
            f"{path} cannot be read ({one_line(error)}); download it again. It must be one CSV,"
            " plain, as .gz or alone in a .zip."
        ) from None
    if not rows:
        raise InputError(f"{path} has a header but no rows; it needs at least one row.")


def record_path(model: Path) -> Path:
    """Where the record of a model is: my_model.json, but my_model.tflite.json for an export."""
    if model.suffix == ".keras":
        return model.with_suffix(".json")
    return model.with_name(f"{model.name}.json")


def make_folder(path: Path) -> None:
    """Make a folder and see to it that one can write there, before hours of training."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written to ({reason}); choose another.") from None


def replace_file(path: Path | str, write: Callable[[Path], object]) -> None:
    """Write a file so that a kill at any moment leaves the earlier one or the new one, whole.

    `write(temporary)` writes to a path beside `path` with the same ending; then the name moves.
    Raises InputError if the disk is full or the like.
    """
    path = Path(path)
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):  # by a kill, an hour ago or more
        if left.stat().st_mtime < time.time() - 3600:
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or one_line(error)}); what was there"
            " before is untouched: make room, or choose another folder."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
