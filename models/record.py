"""The record that is saved beside a model: what was trained on what, and how."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.faces import Faces, fingerprint
from data.labels.kaggle import first_rows
from data.settings import Settings
from data.system.progress import say_start_of_keras
from models.storage import weights_digest

if TYPE_CHECKING:
    import keras


def describe(
    settings: Settings,
    precision: str,
    complete_only: bool,
    files: list[Faces],
    real: bool,
    held_out: Faces,
    model_path: Path,
) -> dict[str, Any]:
    """What a training knows of itself before it starts; JSON can hold it.

    Args:
        settings, precision, complete_only: of the training.
        files: what it trains on, one Faces each; `real`: read from CSVs, not synthetic.
        held_out: the held-out faces of all files.
        model_path: where the model will be saved.
    """
    return {
        "settings": asdict(settings),
        "precision": precision,
        "complete_only": complete_only,
        "key_points": files[0].names,
        "data": [
            {
                "path": str(file.path),
                # Two more paths, to find it from another folder and after all of it has moved.
                "absolute": None if not real else str(file.path.resolve()),
                "from_model": None if not real else beside(file.path, model_path),
                "synthetic_faces": None if real else len(file.rows),
                "faces": len(file.rows),
                "sha256": fingerprint(file),
                "first_rows": first_rows(file),  # of each annotator of Kaggle's file
                # 0-based rows below the header, as pandas counts them
                "validation_rows": held_out.rows[held_out.file == i].tolist(),
                "validation_sha256": fingerprint(held_out.take(held_out.file == i)),
            }
            for i, file in enumerate(files)
        ],
        "versions": versions(),
    }


def beside(path: Path, model: Path) -> str | None:
    """A file's path as seen from the model's folder; None on another drive."""
    try:
        return os.path.relpath(path.resolve(), model.resolve().parent)
    except ValueError:
        return None


def what_must_match(record: dict[str, Any], initial: keras.Model | None) -> dict[str, Any]:
    """What must be the same for a training to be resumed, from its record."""
    return record["settings"] | {
        "precision": record["precision"],
        "init": weights_digest(initial) if initial else None,
        "corrections": record.get("corrections"),
        "data": [[data["sha256"], data["validation_rows"]] for data in record["data"]],
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    def version_of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:  # such as TensorFlow where Keras uses JAX
            return None

    say_start_of_keras()
    import keras

    backend = keras.backend.backend()
    packages = (backend, "keras", "numpy", "pandas", "scikit-learn", "matplotlib")
    found = {"python": sys.version.split()[0]} | {name: version_of(name) for name in packages}
    return {name: text for name, text in found.items() if text}
