"""Train a small Keras network that finds key points on 96x96 grey faces, and save it.

    python model_builder.py                              # data/training.csv, or synthetic faces
    python model_builder.py --data training.zip          # Kaggle's file just as it comes
    python model_builder.py --dry-run                    # every step, in seconds
    python model_builder.py --resume                     # continue after Ctrl-C or a kill
    python model_builder.py --suspects                   # which labels may be wrong?

Kaggle's 15 key points are the default; a CSV whose header names others trains those.

The file reads in the order in which the data flows: settings, load, split, train, save. The
settings stand in data/settings.py, the training itself in models/training/fit.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.batches import PART
from data.faces import Faces, join_faces, labelled_points, synthetic_faces, without_labels
from data.formats.labels import add_label_options, label_options
from data.key_points import Names, compute_mean_face, first_few, mirror_partners
from data.labels.corrections import as_record, correct, read_corrections
from data.labels.training_files import (
    can_mirror,
    check_labels,
    check_named,
    check_sides,
    load_files,
)
from data.settings import Settings
from data.split import split_faces
from data.system.command_line import fraction, natural, positive, run_script
from data.system.files import HERE, InputError, find_data, make_folder
from data.system.lock import locked
from models.export.runtimes import RUNTIMES
from models.network import check_backend, has_bfloat16, warm_start
from models.record import describe, what_must_match
from models.storage import Checkpoint, Landmarker, load_landmarker, save_model, unfinished
from models.training.fit import Outcome, train
from models.training.score import score_files
from models.training.suspects import (
    find_conventions,
    judge_labels,
    predict_unseen,
    warn_of_seen_files,
)
from models.training.workers import Worker, find_worker, join_workers
from results.figures.plots import plot_training
from results.suspects import SuspectFiles

if TYPE_CHECKING:
    import keras

# Synthetic faces: about as many as Kaggle's complete rows, and so few epochs, of smaller batches,
# that all of it, drawing the faces included, takes some minutes on two cores.
SYNTHETIC_COUNT, SYNTHETIC_EPOCHS, SYNTHETIC_BATCH = 2000, 6, 32
SUSPECT_EPOCHS, SUSPECT_BATCH = 8, 32  # of --suspects: wrong labels are large errors


# --- all steps -----------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> None:
    """Load, split, train, save: what the command line asks for."""
    worker = find_worker()
    if worker.count == 1:
        train_and_save(arguments, worker)
        return
    import tensorflow as tf

    try:
        with redirect_stdout(None if worker.number else sys.stdout):  # only worker 0 prints
            train_and_save(arguments, worker)
    except tf.errors.OpError as error:
        raise InputError(
            f"a worker is gone ({type(error).__name__} in TensorFlow), and the others cannot go on"
            " without it; start all of them again, with --resume if an epoch was finished."
        ) from None


def train_and_save(arguments: argparse.Namespace, worker: Worker) -> None:
    """`run` for one of several workers; only worker 0 writes anything."""
    paths = choose_output_paths(arguments)
    check_backend()
    if worker.count > 1 and arguments.suspects:
        raise InputError("--suspects runs in one process; start it without TF_CONFIG.")
    if worker.count > 1:
        worker = join_workers(worker)  # before TensorFlow computes anything
    initial = load_landmarker(arguments.init) if arguments.init else None
    if worker.number:
        train_into(paths, arguments, initial, worker)
        return
    make_folder(paths.model.parent)
    make_folder(paths.results)
    wait = "wait for it, stop it, or give another"
    with (
        locked(paths.model, f"{paths.model}", f"{wait} --model"),
        locked(paths.results, f"the log in {paths.results}", f"{wait} --results"),
    ):
        train_into(paths, arguments, initial, worker)


def train_into(
    paths: OutputPaths,
    arguments: argparse.Namespace,
    initial: Landmarker | None,
    worker: Worker,
) -> None:
    """Load, split, train and save, while nobody else writes to `paths`; `initial` is of --init."""
    csvs = arguments.data or [path for path in [find_data("training")] if path]
    settings = choose_settings(arguments, bool(csvs), worker)
    as_they_are = load(csvs, arguments, settings, worker)
    corrections = (
        read_corrections(arguments.corrections, as_they_are) if arguments.corrections else []
    )
    files = [correct(file, number, corrections) for number, file in enumerate(as_they_are)]
    check_labels(files)
    if not can_mirror(files):
        settings = replace(settings, flip=0.0)
    model = start_from(initial, files[0], settings.seed) if initial else None
    faces = join(files, arguments, settings, worker)
    precision = choose_precision(arguments.precision)
    if arguments.suspects:
        if initial:
            warn_of_seen_files(initial, as_they_are)
        find_suspects(faces, as_they_are, settings, precision, model, paths)
        return
    training, held_out = split(faces, settings)
    print(
        f"{len(training.rows)} faces to train on, {len(held_out.rows)} held out;"
        f" {settings.epochs} epochs in {precision}, seed {settings.seed}.",
        flush=True,
    )
    record = describe(
        settings, precision, arguments.complete_only, as_they_are, bool(csvs), held_out, paths.model
    )
    if corrections:
        record["corrections"] = as_record(corrections)
    partners = mirror_partners(training.names) if settings.flip > 0 else None
    record["mean_face"] = compute_mean_face(training.key_points, partners)
    if any(file.from_photos for file in files):
        record["labels"] = label_options(arguments).as_record()
    if never := never_labelled(training, settings, initial):
        record["never_labelled"] = list(never)
        held_out = without_labels(held_out, never)  # rows of these alone may be held out
    if paths.resume.exists() and not arguments.resume:
        print(f"{paths.resume} of an unfinished training is there: starting anew, without it.")

    outcome = train(
        training,
        held_out,
        settings,
        precision,
        paths.results / "training_log.csv",
        model,
        Checkpoint(paths.resume, what_must_match(record, model)),
        arguments.resume,
        worker,
    )
    if outcome is not None:
        record["results"] = {"training_faces": len(training.rows)}
        save(outcome, paths, record, held_out, files)


# --- settings ------------------------------------------------------------------------------------


class OutputPaths(NamedTuple):
    """Where a training writes."""

    model: Path
    results: Path
    resume: Path  # the checkpoint


def choose_output_paths(arguments: argparse.Namespace) -> OutputPaths:
    """Where to write. Raises InputError for a path that cannot be a model's, or be resumed."""
    folder = "dry_run" if arguments.dry_run else "."
    name = "dry_run.keras" if arguments.dry_run else "my_model.keras"
    model = arguments.model or HERE / "models" / name
    results = arguments.results or HERE / "results" / folder
    if model.suffix != ".keras":
        raise InputError(f"--model {model}: the name must end in .keras.")
    if arguments.init and arguments.init.suffix in RUNTIMES:
        raise InputError(f"--init {arguments.init}: an export cannot be trained; give the .keras.")
    resume = model.with_suffix(".resume.npz")
    if arguments.resume and not resume.exists():
        raise InputError(f"{resume} does not exist: there is no training to resume.")
    return OutputPaths(model, results, resume)


def choose_settings(arguments: argparse.Namespace, real: bool, worker: Worker) -> Settings:
    """The settings that the command line asks for; `real`: there are files to train on."""
    epochs, batch_size = Settings.epochs, Settings.batch_size
    if arguments.suspects:
        epochs, batch_size = SUSPECT_EPOCHS, SUSPECT_BATCH
    elif not real:
        epochs, batch_size = SYNTHETIC_EPOCHS, SYNTHETIC_BATCH
    settings = Settings(
        epochs=arguments.epochs or epochs,
        batch_size=arguments.batch_size or batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        validation_split=arguments.validation_split,
        alike=tuple(arguments.alike),
        emphasized=tuple(arguments.emphasize),
    )
    if arguments.dry_run:
        size = 16 if worker.count == 1 else PART * worker.count
        settings = replace(settings, epochs=arguments.epochs or 2, batch_size=size)
    return settings


def choose_precision(asked: str) -> str:
    """The arithmetic of the training: "auto" becomes what this processor is fastest at."""
    if asked != "auto":
        return asked
    return "bfloat16" if has_bfloat16() else "float32"


# --- load ----------------------------------------------------------------------------------------


def load(
    csvs: list[Path], arguments: argparse.Namespace, settings: Settings, worker: Worker
) -> list[Faces]:
    """The files to train on, one Faces each; where there is none, synthetic faces."""
    if csvs:
        files = load_files(csvs, arguments.complete_only, label_options(arguments))
    else:
        print(
            f"{HERE / 'data' / 'training.csv'} is not there (data/README.md says where to get the"
            " real faces): training on synthetic faces."
        )
        count = 64 * worker.count if arguments.dry_run else SYNTHETIC_COUNT
        files = [synthetic_faces(count, settings.seed)]
    check_named(files[0], {"--alike": settings.alike, "--emphasize": settings.emphasized})
    return files


def start_from(initial: Landmarker, first: Faces, seed: int) -> keras.Model:
    """The model of --init with the key points of the first file; says which of them start anew.

    Raises InputError if it means the opposite by left and right, or has another body than
    `build_model` gives.
    """
    import keras

    path, known = initial.path, initial.names
    check_sides(first, path, known, initial.record.get("mean_face"))
    new = tuple(name for name in first.names if name not in known)
    if new:
        print(
            f"{path} does not know {len(new)} of the {len(first.names)} key points, which start"
            f" anew: {first_few(new)}"
        )
    keras.utils.set_random_seed(seed)
    try:
        return warm_start(initial.model, known, first.names)
    except ValueError:
        raise InputError(
            f"{path} has other layers than the network that is trained; --init needs a model made"
            " by this model_builder.py."
        ) from None


# --- split ---------------------------------------------------------------------------------------


def join(
    files: list[Faces], arguments: argparse.Namespace, settings: Settings, worker: Worker
) -> Faces:
    """The files' faces as one; in a dry run 64 of them for each worker."""
    faces = join_faces(files)
    repeated = sum(len(file.rows) for file in files) - len(faces.rows)
    if repeated:
        print(f"{repeated} repeated rows left out.")
    if arguments.dry_run:
        order = np.random.default_rng(settings.seed).permutation(len(faces.rows))
        faces = faces.take(np.sort(order[: 64 * worker.count]))
    return faces


def split(faces: Faces, settings: Settings) -> tuple[Faces, Faces]:
    """The faces to train on, and those held out."""
    training, held_out = split_faces(
        faces, settings.validation_split, settings.further_split, settings.seed
    )
    return faces.take(training), faces.take(held_out)


def never_labelled(training: Faces, settings: Settings, initial: Landmarker | None) -> Names:
    """The key points of which neither these faces nor those of the model of --init have labels.

    Prints them: the network has outputs for them, which mean nothing.
    """
    known: set[str] = set()
    if initial:
        known = set(initial.names) - set(initial.record.get("never_labelled", []))
    learned = labelled_points(training, settings.flip > 0)
    never = tuple(
        name
        for name, labelled in zip(training.names, learned, strict=True)
        if not labelled and name not in known
    )
    if never:
        print(
            f"{len(never)} of the {len(learned)} key points are not labelled in any training face,"
            f" so the model cannot find them: {first_few(never)}"
        )
    return never


# --- suspects ------------------------------------------------------------------------------------


def find_suspects(
    faces: Faces,
    files: list[Faces],
    settings: Settings,
    precision: str,
    initial: keras.Model | None,
    paths: OutputPaths,
) -> None:
    """Write which labels of the faces, joined from the files, may be wrong; trains no model.

    Raises InputError if there are files of an earlier run.
    """
    found = SuspectFiles(paths.results)
    predicted, spread = predict_unseen(faces, settings, precision, initial)
    conventions = find_conventions(faces, files)
    judged = judge_labels(faces.key_points, predicted, spread, conventions)
    found.write(faces, [file.path for file in files], judged)


# --- save ----------------------------------------------------------------------------------------


def save(
    outcome: Outcome,
    paths: OutputPaths,
    record: dict[str, Any],
    held_out: Faces,
    files: list[Faces],
) -> None:
    """Score the model, save it with its record and the training's curves, and print the scores.

    Raises KeyboardInterrupt, which says how to go on, if Ctrl-C ended the training early.
    """
    model, history, few_points_offset = outcome
    epochs, model_path = record["settings"]["epochs"], paths.model
    finished = len(history) == epochs
    if not finished and not unfinished(model_path):
        model_path = model_path.with_suffix(".stopped.keras")  # the finished one is worth more
    mirrored = record["settings"]["flip"] > 0
    scores = score_files(model, held_out, files, few_points_offset, mirrored)
    record["few_points_offset"] = few_points_offset
    record["results"] |= {
        "epochs": len(history),
        "validation": scores,
        "seconds": history[-1]["seconds"],
    }
    save_model(model, model_path, record)
    plot_training(paths.results / "training_process.png", history)
    if not finished:
        raise KeyboardInterrupt(
            f"stopped; epoch {len(history)} of {epochs} is saved as {model_path}. To go"
            " on, give the same command with --resume."
        )
    paths.resume.unlink(missing_ok=True)
    print(f"saved {model_path} and, beside it, {model_path.with_suffix('.json').name}")
    for score in scores[1:] + scores[:1]:
        if len(scores) > 1:
            print(f"{score['path']}:")
        if score["faces"]:
            print(f"with flip averaging: {score['rmse_mirrored_px']:.3f} px")
            print(f"validation RMSE {score['rmse_px']:.3f} px on {score['faces']} faces")


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description="Train a network that finds key points on 96x96 grey faces, and save it."
    )

    def add(flag: str, text: str, **options: Any) -> None:
        shown = " (default: %(default)s)" if "default" in options else ""
        parser.add_argument(flag, help=text + shown, **options)

    add(
        "--data",
        "training CSVs in Kaggle's format, or with other key points as <name>_x and <name>_y,"
        " plain, .gz or .zip, and labelled photos: COCO's or Label Studio's JSON, a folder of"
        " LabelMe's JSONs or of .pts files, the YAML of a YOLO pose data set; the first sets which"
        " points there are and what they mean"
        " (default: data/training.csv, .csv.gz or .zip, else synthetic faces)",
        nargs="+",
        type=Path,
        metavar="PATH",
    )
    add_label_options(parser)
    add("--model", "where to save (default: models/my_model.keras)", type=Path)
    add("--results", "folder of the log and its picture (default: results)", type=Path)
    add(
        "--init",
        "warm start from this model's weights; key points that it does not know start anew",
        type=Path,
        metavar="MODEL",
    )
    add(
        "--alike",
        "key points that all files of --data label at the same spot: they get no offset per file",
        nargs="+",
        default=[],
        metavar="NAME",
    )
    add(
        "--emphasize",
        f"key points whose errors count {default.emphasis:g} times in the loss",
        nargs="+",
        default=[],
        metavar="NAME",
    )
    add(
        "--resume",
        "continue a training that was stopped or killed, from its last finished epoch; give the"
        " same flags as then",
        action="store_true",
    )
    add(
        "--epochs",
        "passes through the data"
        f" (default: {default.epochs}, on synthetic faces {SYNTHETIC_EPOCHS})",
        type=positive(int),
    )
    add(
        "--batch-size",
        f"faces per step (default: {default.batch_size}, on synthetic faces {SYNTHETIC_BATCH})",
        type=positive(int),
    )
    add(
        "--learning-rate",
        "the learning rate at its peak",
        type=positive(float),
        default=default.learning_rate,
    )
    add("--seed", "of the split and of everything random", type=natural, default=default.seed)
    add(
        "--validation-split",
        "share of the rows held out, near-identical pictures kept together",
        type=fraction,
        default=default.validation_split,
    )
    add(
        "--precision",
        "arithmetic of the training; auto: bfloat16 where the processor has it",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
    )
    add(
        "--suspects",
        "instead of training a model, list the labels that may be wrong, judged by networks that"
        " did not train on them, in results/suspects/, as a CSV and as LabelMe files to correct",
        action="store_true",
    )
    add(
        "--corrections",
        "train with the labels as corrected in LabelMe in the folder that --suspects wrote (a"
        " point deleted there is masked), or without all those that its suspects.csv lists",
        type=Path,
        metavar="PATH",
    )
    add("--complete-only", "drop the rows that lack a key point", action="store_true")
    add(
        "--dry-run",
        "every step on 64 rows, in seconds; by default into models/dry_run.keras and"
        " results/dry_run, so that no real model is overwritten",
        action="store_true",
    )
    arguments = parser.parse_args(argv)
    if arguments.suspects and (arguments.resume or arguments.model):
        parser.error("--suspects trains no model: give it without --resume and --model.")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line asks; returns the exit status."""
    return run_script(argv, parse_arguments, run)


if __name__ == "__main__":
    sys.exit(main())
