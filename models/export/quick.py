"""A model's quick form for photos and videos: its 8-bit LiteRT export, kept beside it.

It starts in half a second, where Keras takes five, and a face takes a fifth of the time. The key
points differ by some 0.03 px.

    python -m models.export.quick models/pretrained.keras

writes models/pretrained_small.tflite and compares it with Keras. `--image` and `--video` write it
themselves where it is missing or was made from another file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from data.faces import synthetic_faces
from data.system.command_line import run_script
from data.system.files import InputError, record_path
from models.export.export import SMALL, write_export
from models.export.runtimes import RUNTIMES, why_not_imported
from models.storage import Landmarker, file_digest, load_landmarker

COMPARED = 50  # drawn faces on which the export is compared with Keras
RMS = 0.2  # pixels: how far from Keras's key points it may be


def why_no_runtime() -> str:
    """A line that says why LiteRT cannot be used and how to get it; empty where it can be."""
    module, package = RUNTIMES[".tflite"]
    faster = "For a tenfold faster start of --image and --video: pip install"
    if importlib.util.find_spec(module.split(".")[0]) is None:
        return f"{faster} '{package}'"
    if reason := why_not_imported(module):
        return (
            f"LiteRT is installed but cannot be imported ({reason}); falling back to Keras."
            f" {faster} --force-reinstall '{package}'"
        )
    return ""


def quick_path(path: Path) -> Path:
    """Where the quick form of a .keras file is."""
    return path.with_name(path.stem + SMALL.ending)


def is_quick_form(quick: Path, path: Path) -> bool:
    """Whether the file `quick` was made from this very .keras file."""
    try:
        record = json.loads(record_path(quick).read_text(encoding="utf-8"))
        made_from, whole = record["exported_from_sha256"], record["file_sha256"]
        return made_from == file_digest(path) and whole == file_digest(quick)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def write_quick_form(landmarker: Landmarker) -> Path:
    """Write the quick form of a model loaded from a .keras file; returns its path.

    Raises InputError if it cannot be written, or differs too much from Keras.
    """
    path = landmarker.path
    faces = synthetic_faces(COMPARED, 0)
    form = SMALL._replace(rms=RMS)
    return write_export(form, landmarker.model, landmarker.record, path, faces, path.parent)


def load_quickly(path: Path) -> Landmarker:
    """Load a .keras file in its quick form, which is written first if there is none of this file.

    Loads it with Keras where LiteRT is not installed or cannot be imported, where the quick form
    cannot be written, and where the JSON beside the model is not its own. Raises InputError as
    `load_model`.
    """
    if reason := why_no_runtime():
        print(reason, flush=True)
        return load_landmarker(path)
    quick = quick_path(path)
    if not is_quick_form(quick, path):
        landmarker = load_landmarker(path)
        if not landmarker.record or not os.access(path.parent, os.W_OK):
            return landmarker
        print(f"Writing {quick.name}, with which later runs start at once ...", flush=True)
        try:
            write_quick_form(landmarker)
        except (InputError, OSError, ImportError) as error:
            print(f"It cannot be written ({error}); falling back to Keras.", flush=True)
            return landmarker
    return load_landmarker(quick)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        prog="python -m models.export.quick",
        description="Write a model's quick form, which --image and --video use, beside it.",
    )
    parser.add_argument("model", type=Path, help="the .keras file, its JSON beside it")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Load the model and write its quick form."""
    write_quick_form(load_landmarker(arguments.model))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
