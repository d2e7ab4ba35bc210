"""The held-out faces: found again in the training data, predicted, measured and pictured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.faces import Faces, fingerprint, load_training, mark_second_source, synthetic_faces
from data.formats.labels import AS_USUAL, LabelOptions
from data.key_points import Names
from data.labels.corrections import correct, from_record
from data.labels.kaggle import drop_inconsistent, first_rows
from data.system.files import (
    HERE,
    InputError,
    find_data,
    printable,
    record_path,
    write_text,
)
from models.storage import FREE, FREE_68, SHIPPED, Landmarker
from results.figures.plots import plot_calibration, plot_errors, plot_worst
from results.measures import FAILURE, measure, measure_spread, rmse_per_part

# The files about the held-out faces.
HELD_OUT_FILES = (
    "worst16_in_validation.png",
    "error_by_key_point.png",
    "calibration.png",
    "validation.json",
)


def held_out_faces(
    record: dict[str, Any],
    model_path: Path,
    names: Names,
    training: Path | None = None,
    options: LabelOptions = AS_USUAL,
) -> Faces | None:
    """The faces that were held out when the model was trained.

    Args:
        record: the JSON saved beside the model.
        model_path: the model's path.
        names: of the model's key points.
        training: the CSV that contains them, or labelled photos; None: the one that the record
            names, or training.csv in data/, or the synthetic faces drawn again.
        options: for labelled photos; what they leave open is as in the training.

    Returns:
        Faces; `rows` are 0-based rows of the file. None for the shipped model, whose training data
        a user need not have, where it is not here.

    Raises:
        InputError: there is no record, or the file is not the one that the model was trained on.
    """
    if not record.get("data"):
        raise InputError(
            f"{record_path(model_path)} is missing, belongs to another model or names no data, so"
            " the held-out faces are not known; train the model again with:"
            " python model_builder.py"
        )
    tried, problems = [], []
    for path in [training] if training else recorded_paths(record, model_path):
        if path is None:
            data, seed = record["data"][0], record["settings"]["seed"]
            faces = synthetic_faces(data["faces"], seed, data["validation_rows"])
            if fingerprint(faces) == data.get("validation_sha256"):
                return faces
            faces = synthetic_faces(data["faces"], seed)  # an early record has no such digest
        else:
            try:
                complete_only = record.get("complete_only", False)
                faces = load_training(path, complete_only, names, options.or_recorded(record))
            except InputError as problem:
                problems.append(problem)
                continue
        # Kaggle's own file also stands for what data/labels/kaggle.py makes of it.
        for version in [faces, drop_inconsistent(faces)] if first_rows(faces) else [faces]:
            digest = fingerprint(version)
            for i, data in enumerate(record["data"]):
                if data["sha256"] == digest:
                    version = correct(version, i, from_record(record, i))
                    version = mark_second_source(version) if i == 0 else version
                    return version.take(np.isin(version.rows, data["validation_rows"]))
        tried.append(str(faces.path))
    shipped = (SHIPPED, FREE, FREE_68)
    is_shipped = model_path.resolve() in shipped
    is_shipped |= record.get("exported_from") in [path.name for path in shipped]
    if training is None and is_shipped:
        return None
    if problems and not tried:
        raise problems[0]
    raise not_the_data(record, model_path, tried)


def not_the_data(record: dict[str, Any], model_path: Path, tried: list[str]) -> InputError:
    """The error that none of the files `tried` is what the model was trained on."""
    trained_on = ", ".join(data["path"] for data in record["data"])
    if not tried:
        return InputError(
            f"the data that {model_path} was trained on ({trained_on}) is not found; name that file"
            " by --training."
        )
    return InputError(
        f"{' and '.join(tried)} is not the data that {model_path} was trained on ({trained_on}),"
        " so its faces may not be held-out ones; name that file by --training."
    )


def recorded_paths(record: dict[str, Any], model_path: Path) -> list[Path | None]:
    """Where the data that the record names may be now: paths, or None for synthetic faces.

    Its path as it was given, seen from here, from the model and from the project; or a file of its
    name beside the model.
    """
    if record["data"][0].get("synthetic_faces"):
        return [None]
    candidates: list[Path | None] = []
    for data in record["data"]:
        named = [data.get(key) for key in ("absolute", "path") if data.get(key)]
        candidates += [Path(name) for name in named] + [HERE / data["path"]]
        beside = data.get("from_model") or data["path"], Path(data["path"]).name
        candidates += [model_path.parent / name for name in beside]
    candidates.append(find_data("training"))
    found = {path.resolve(): path for path in candidates if path and path.exists()}
    return list(found.values())


def measure_held_out_faces(
    landmarker: Landmarker, held_out: Faces, results: Path, mirror: bool
) -> None:
    """Predict the held-out faces, write pictures and validation.json, print the figures."""
    record, truth = landmarker.record, held_out.key_points
    predicted, spread = landmarker.predict(held_out.pictures, mirror)
    if record.get("few_points_offset"):  # the annotators of such rows mark some points elsewhere
        predicted[held_out.source < 0] += record["few_points_offset"]
    plot_worst(results / "worst16_in_validation.png", held_out, predicted, spread)
    plot_errors(results / "error_by_key_point.png", predicted, truth, held_out.names)
    plot_calibration(results / "calibration.png", predicted, spread, truth)
    figures = measure(predicted, truth, landmarker.names)
    for data in record.get("data", []):  # Kaggle's file: three annotators, one after the other
        if data.get("first_rows") and data["validation_rows"] == held_out.rows.tolist():
            figures["per_part"] = rmse_per_part(predicted, truth, held_out.rows, data["first_rows"])
    figures["spread"] = measure_spread(predicted, spread, truth)
    used = mirror and landmarker.mirror
    report = {"model": str(landmarker.path), "mirror": used, **figures}
    write_text(results / "validation.json", json.dumps(report, indent=2) + "\n")
    if figures["nme"] is not None:
        print(
            f"NME {100 * figures['nme']:.2f} % of the {figures['normalised_by']},"
            f" {100 * figures['failure_rate']:.1f} % of the faces above {100 * FAILURE:.0f} %"
        )
    print(f"validation RMSE {figures['rmse_px']:.3f} px on {figures['faces']} faces")


def leave_out_held_out_faces(results: Path, reason: InputError) -> None:
    """Print why the held-out faces are not measured; remove the files of an earlier run."""
    print(
        f"The held-out faces were not found ({printable(reason).rstrip('.')}); not written:"
        f" {', '.join(HELD_OUT_FILES)}."
    )
    for name in HELD_OUT_FILES:
        if (results / name).exists():
            (results / name).unlink()
            print(f"{printable(results / name)} of an earlier run is removed.")
