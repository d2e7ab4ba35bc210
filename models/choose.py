"""Which model is used where the command line names none."""

from __future__ import annotations

import json
from pathlib import Path

from data.key_points import first_few
from data.system.files import HERE, printable, record_path
from models.export.quick import load_quickly
from models.storage import SHIPPED, Landmarker, describe_model, load_landmarker


def find_model() -> Path:
    """The default model: the user's own, my_model.keras, else the shipped one."""
    own = HERE / "models" / "my_model.keras"
    return own if own.exists() or not SHIPPED.exists() else SHIPPED


def load_for_photos(named: Path | None) -> Landmarker:
    """Load the model for photos and videos, and print in one line which it is and why.

    The one that is `named`; else the quick form of the user's own, where its record names a file
    that it was trained on; else that of the shipped one. A model trained on synthetic faces only is
    1.9 px off on real ones, and finds 148 faces in 41 photos in which the shipped one finds 159.
    """
    own = HERE / "models" / "my_model.keras"
    if named is not None:
        landmarker, reason = load_landmarker(named), "given by --model"
    elif not SHIPPED.exists():
        landmarker, reason = load_quickly(own), ""
    elif not own.exists():
        landmarker, reason = load_quickly(SHIPPED), "the shipped one"
    else:
        landmarker, reason = load_trained_on_files(own)
    _ = landmarker.mean_face  # raises InputError where faces cannot be cropped for this model
    line = describe_model(landmarker.path, landmarker.record, reason)
    if landmarker.free:
        line += ". Its weights and those of the face detector are CC0"
    print(line, flush=True)
    return landmarker


def load_trained_on_files(own: Path) -> tuple[Landmarker, str]:
    """The user's own model if it was trained on files, else the shipped one; and why."""
    try:
        data = json.loads(record_path(own).read_text(encoding="utf-8"))["data"]
        files = [each["path"] for each in data if not each.get("synthetic_faces")]
        reason = "was trained on synthetic faces only"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        files, reason = [], "has no JSON that names what it was trained on"
    if files:
        landmarker = load_quickly(own)
        if landmarker.record:  # else the JSON beside it is another model's
            return landmarker, f"trained on {printable(first_few(files))}"
        reason = "has another model's JSON beside it"
    return load_quickly(SHIPPED), (
        f"the shipped one, because {printable(own)} {reason} (--model {printable(own)} uses it)"
    )
