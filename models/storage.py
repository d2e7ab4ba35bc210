"""Models and checkpoints on disk: the one place where a model is saved and loaded."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.images.crops import mean_face_of
from data.key_points import COLUMNS, KEY_POINTS, SIZE, Names, first_few, mirror_partners
from data.system.files import (
    HERE,
    InputError,
    one_line,
    printable,
    record_path,
    replace_file,
    write_text,
)
from data.system.progress import say_start_of_keras
from models.export.runtimes import RUNTIMES, open_exported
from models.network import check_backend, predict

if TYPE_CHECKING:
    import keras

SHIPPED = HERE / "models" / "pretrained.keras"
CC0 = "CC0 1.0"  # the licence of weights that may be used for anything, in their record
# Shipped too, and they learned from rendered faces alone: Kaggle's 15 points, and 300-W's 68.
FREE, FREE_68 = HERE / "models" / "synthetic.keras", HERE / "models" / "synthetic_68.keras"


@dataclass(frozen=True, eq=False)
class Landmarker:
    """A loaded model with all that belongs to it; `load_landmarker` makes one."""

    model: Any  # keras.Model, or `models.export.runtimes.Exported`
    record: dict[str, Any]  # the JSON saved beside it; empty where there is none
    path: Path  # where it was loaded from

    @cached_property
    def names(self) -> Names:
        """The names of its key points, (K,)."""
        return names_of(self.model, self.record)

    @cached_property
    def mean_face(self) -> np.ndarray | None:
        """The mean face of its training, (K, 2) in pixels of the 96x96 crop; None for Kaggle's key
        points. Raises InputError if its record has none that faces can be cropped by."""
        return mean_face_of(self.record, self.names, self.path)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which key points its training saw labelled, bool (K,); the others are never found."""
        never = self.record.get("never_labelled") or ()
        return np.array([name not in never for name in self.names])

    @property
    def found_names(self) -> Names:
        """The names of the key points that it finds: those that were labelled."""
        return tuple(name for name, here in zip(self.names, self.labelled, strict=True) if here)

    @property
    def free(self) -> bool:
        """Whether its record licenses it for any use, products included."""
        return self.record.get("licence") == CC0

    @property
    def mirror(self) -> bool:
        """Whether test-time flip averaging makes sense: its training saw mirrored faces."""
        settings = self.record.get("settings")
        return not isinstance(settings, dict) or settings.get("flip", 1) > 0

    def predict(self, pictures: np.ndarray, mirror: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The key points (N, K, 2) and spread (N, K) of cropped faces (N, 96, 96), in their pixels;
        both are NaN for points that were never labelled.

        `mirror`: average with the prediction for the mirrored pictures, where that makes sense.
        """
        found = predict(self.model, pictures, mirror and self.mirror, names=self.names)
        for values in found:
            values[:, ~self.labelled] = np.nan
        return found


def load_landmarker(path: Path | str) -> Landmarker:
    """Load a model, .keras, .tflite or .onnx, with its record. Raises InputError as `load_model`.

    `detect` of `models.detect.search` finds faces and key points in photos with it.
    """
    model, record = load_model(path)
    return Landmarker(model, record, Path(path))


class Checkpoint:
    """A file from which a training can be resumed: weights, optimizer state, history.

    The rest follows from the settings and the number of epochs done: they determine what `batches`
    draws, and the optimizer's step determines the learning rate. Arrays and JSON only, nothing
    pickled.
    """

    def __init__(self, path: Path | str, run: dict[str, Any]) -> None:
        """`run`: what must be the same for a training to be resumed, a dict for JSON."""
        self.path, self.run = Path(path), json.loads(json.dumps(run))

    def save(self, model: keras.Model, history: list[dict[str, Any]]) -> None:
        """Write the state of a compiled model with a built optimizer after these epochs."""
        note = json.dumps({"run": self.run, "history": history})
        state = [np.asarray(variable) for variable in self._variables(model)]
        replace_file(self.path, lambda file: np.savez(file, *state, note=note))

    def restore(self, model: keras.Model) -> list[dict[str, Any]]:
        """Restore the state of a compiled model with a built optimizer; return the history.

        Raises InputError if the file is missing, broken or of another run.
        """
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: there is no training to resume.")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                note = json.loads(str(file["note"]))
                state = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
            run, history = note["run"], note["history"]
        except Exception as error:  # NumPy raises a dozen kinds
            raise InputError(
                f"{self.path} is damaged ({one_line(error)}); start again, without --resume."
            ) from None
        if new := [name for name, value in self.run.items() if name not in run and value]:
            raise InputError(
                f"{self.path} was written by an earlier version of this project, which did not have"
                f" {first_few(new)}; resume with that version, or start again, without --resume."
            )
        different = [
            f"other {name}"
            if name in ("data", "init", "corrections")
            else f"{name} {run[name]}, not {value}"
            for name, value in self.run.items()
            if name in run and run[name] != value  # a new setting that is off changes nothing
        ]
        if different:
            raise InputError(
                f"{self.path} is of a training with {' and '.join(different)}; resume with the same"
                " flags, data and version of this project, or start again, without --resume."
            )
        variables = self._variables(model)
        if [value.shape for value in state] != [tuple(v.shape) for v in variables]:
            raise InputError(f"{self.path} is of another network; start again, without --resume.")
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        return history

    def _variables(self, model: keras.Model) -> list[Any]:
        return [*model.variables, *model.optimizer.variables]


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of the weights: identifies the model that a record belongs to."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of an exported model's file: identifies the one that a record belongs to."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unfinished(path: Path) -> bool:
    """Whether there is no model at `path`, or one whose training was stopped early."""
    if not path.exists():
        return True
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
        return record["results"]["epochs"] < record["settings"]["epochs"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def save_model(model: keras.Model, path: Path | str, record: dict[str, Any]) -> None:
    """Save the model, and beside it `record` as JSON of the same name."""
    path = Path(path)
    replace_file(path, model.save)
    save_record(path, model, record)


def save_record(path: Path, model: Any, record: dict[str, Any]) -> None:
    """Write the record of a saved or exported model as JSON beside it, with the model's digest."""
    if path.suffix in RUNTIMES:
        mark = {"file_sha256": file_digest(path), "key_points": names_of(model, record)}
    else:
        mark = {"weights_sha256": weights_digest(model)}
    text = json.dumps(record | mark, indent=2) + "\n"
    write_text(record_path(path), text)


def load_model(path: Path | str) -> tuple[Any, dict[str, Any]]:
    """A saved or exported model and its JSON record (an empty dict where there is none).

    Args:
        path: .keras, or .tflite or .onnx, which only predict, without TensorFlow and Keras.

    Returns:
        keras.Model, or `models.export.runtimes.Exported`, and the record.

    Raises:
        InputError: the file is missing, damaged or not a model of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; train it with: python model_builder.py")
    model = open_exported(path) if path.suffix in RUNTIMES else load_keras(path)
    count = check_shapes(model, path)
    file = record_path(path)
    try:
        record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if path.suffix in RUNTIMES:
            of_this = record.get("file_sha256") in (None, file_digest(path))
        else:
            of_this = record.get("weights_sha256") in (None, weights_digest(model))
        names = names_of(model, record if of_this else {})
        mirror_partners(names)  # ValueError if one is missing
        never = list((record if of_this else {}).get("never_labelled") or [])
        if not count == len(names) == len(set(names)) or not set(never) < set(names):
            raise ValueError
    except (OSError, ValueError, AttributeError, TypeError):
        raise InputError(
            f"{file} is not the JSON that was written with the model; delete it or copy it again."
        ) from None
    # A kill between the two writes leaves an earlier model's record beside the new model.
    return model, record if of_this else {}


def load_keras(path: Path) -> keras.Model:
    """The Keras model in a .keras file. Raises InputError if it cannot be loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None  # before TensorFlow takes its seconds to start
    except Exception:  # zipfile raises a dozen kinds
        whole = False
    if not whole:
        raise InputError(f"{path} is not a whole .keras file; train it again or copy it again.")
    check_backend(training=False)
    say_start_of_keras()
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        reason = one_line(error).split(". ")[0]  # the rest is advice to programmers
        fix = "train it again or copy it again"
        if newer := written_by_newer(path):
            fix = (
                f"it was written by Keras {newer}, but {keras.__version__} is installed: pip"
                f" install keras=={newer}, or train the model again"
            )
        raise InputError(f"{path} cannot be loaded as a Keras model ({reason}); {fix}.") from None


def check_shapes(model: Any, path: Path) -> int:
    """A loaded model's number of key points, K. Raises InputError if it is not of this project."""
    output = getattr(model, "output", None)  # some models raise AttributeError
    named = output if isinstance(output, dict) else {"output": output}
    named = {name: getattr(tensor, "shape", None) for name, tensor in named.items()}
    shapes = (getattr(model, "input_shape", None), named)
    count = (named.get("spread") or [None])[-1] or 0
    expected = {"key_points": (None, 2 * count), "spread": (None, count)}
    if not count or shapes != ((None, SIZE, SIZE, 1), expected):
        raise InputError(
            f"{path} maps {shapes[0]} to {shapes[1]}; a model of this project maps"
            f" (None, {SIZE}, {SIZE}, 1) to key_points (None, 2 K) and spread (None, K), as"
            f" {len(COLUMNS)} and {len(KEY_POINTS)}."
        )
    return count


def written_by_newer(path: Path) -> str | None:
    """The version of Keras that wrote a .keras file, if newer than the installed one; else None."""
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
        numbers = [
            [int(n) for n in re.findall(r"\d+", v)[:3]] for v in (version, keras.__version__)
        ]
        return version if numbers[0] > numbers[1] else None
    except Exception:  # it may hold anything
        return None


def describe_model(path: Path, record: dict[str, Any], reason: str = "") -> str:
    """A sentence: which model is used, the `reason` for it, and any reason not to trust it."""
    try:
        settings, results = record["settings"], record["results"]
        done, planned = results["epochs"], settings["epochs"]
        error = results["validation"][0].get("rmse_px")
        doubts = [
            f"its training was stopped after epoch {done} of {planned}" if done < planned else "",
            f"it was trained for {done} epoch(s) only" if done == planned < FEW_EPOCHS else "",
            f"it is {error:.1f} px off on held-out faces" if error and error > POOR else "",
        ]
    except (LookupError, TypeError, AttributeError):
        doubts = ["there is no JSON that describes its training"]
    text = f"Model: {printable(path)}" + (f", {reason}" if reason else "")
    if never := record.get("never_labelled"):
        text += f". Never labelled in its training, so not found: {', '.join(never)}"
    if not any(doubts):
        return text
    text += f". Do not trust its answers: {'; '.join(doubt for doubt in doubts if doubt)}."
    if path.resolve() != SHIPPED and SHIPPED.exists():
        text += f" The shipped model is --model {printable(SHIPPED)}"
    return text


# Fewer epochs, or a larger error (the mean face's is 3.2 px), are reasons not to trust a model.
FEW_EPOCHS, POOR = 3, 2.5


def names_of(model: Any, record: dict[str, Any]) -> Names:
    """The names of a loaded model's key points, (K,): its record's, else Kaggle's or numbers."""
    if record.get("key_points"):
        return tuple(record["key_points"])
    count = model.output["spread"].shape[-1]
    return KEY_POINTS if count == len(KEY_POINTS) else tuple(f"point_{k + 1}" for k in range(count))
