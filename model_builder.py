"""Train a small Keras network that finds key points on 96x96 grey faces, and save it.

    python model_builder.py                              # data/training.csv, or synthetic faces
    python model_builder.py --data training.zip          # Kaggle's file just as it comes
    python model_builder.py --dry-run                    # the whole way in seconds
    python model_builder.py --resume                     # go on after Ctrl-C or a kill

Kaggle's 15 key points are the default; a CSV whose header names others trains those.

The file reads in the order in which the data flows:
settings -> load -> split -> train -> save; the rooms `data` and `models` do the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.augment.views import milder
from data.batches import PART, batches, epoch_rows
from data.faces import (
    Faces,
    join_faces,
    synthetic_faces,
)
from data.key_points import (
    Names,
    compute_mean_face,
    mirror_partners,
    rmse,
    some_of,
)
from data.labels.training_files import check_labels, check_sides, load_files
from data.split import split_faces
from data.system.command_line import fraction, natural, positive, run_script
from data.system.files import HERE, InputError, find_data, make_folder
from data.system.lock import locked
from data.system.progress import progress_bar
from data.system.signals import acknowledge_stop
from models.export.runtimes import RUNTIMES
from models.network import (
    build_model,
    check_backend,
    has_bfloat16,
    plain_keras,
    predict,
    warm_start,
    with_source_offsets,
)
from models.record import describe, what_must_match
from models.spread import SpreadLearning, calibrate, fit_spread, learn_only_spread
from models.storage import (
    Checkpoint,
    load_model,
    names_of,
    save_model,
    unfinished,
)
from models.training.optimizer import make_optimizer, short_memory
from models.training.progress import each_step, model_inputs, progress
from models.training.workers import (
    check_batch_size,
    find_worker,
    join_workers,
    replicated,
    share_among_gpus,
)
from results.pictures import plot_training

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Settings(SpreadLearning):
    """Every knob of a training run and why it stands where it does; saved beside the model.

    The inherited ones stand where they work, each with its why: the spread (models/spread.py), the
    batches (data/batches.py), the augmentation (data/augment/views.py) and what covers the faces
    (data/augment/occlusion.py).
    """

    epochs: int = 32  # 18 core minutes for 2,140 faces; twice as many gain another 4 %
    learning_rate: float = 5e-3  # the peak of the cosine; 2e-3 is worse by 3 %, 1e-2 no better
    warmup_steps: int = 200  # AdamW's second moments need a while before large steps are safe
    weight_decay: float = 0.02  # decoupled (AdamW); small, the augmentation regularises already
    ema_momentum: float = 0.995  # the saved weights average about the last 200 steps
    huber_px: float = 1.0  # squared error below this, linear above: wrong labels must not rule
    validation_split: float = 0.2  # share of the rows held out, near-identical pictures together
    further_split: float = 0.1  # share held out of each further file: they are there to teach
    alike: tuple[str, ...] = ()  # key points that all files mark at the same spot: no offset


# Synthetic faces: about as many as Kaggle's complete rows, and so few epochs, of smaller batches,
# that all of it, making the faces included, takes some minutes on two cores.
SYNTHETIC_COUNT, SYNTHETIC_EPOCHS, SYNTHETIC_BATCH = 2000, 6, 32


# --- the whole way -------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> None:
    """Load, split, train, save: what the command line asks for."""
    worker, workers = find_worker()
    if workers == 1:
        train_and_save(arguments)
        return
    import tensorflow as tf

    try:
        with redirect_stdout(None if worker else sys.stdout):  # one of them talking is enough
            train_and_save(arguments, worker, workers)
    except tf.errors.OpError as error:
        raise InputError(
            f"a worker is gone ({type(error).__name__} in TensorFlow), and the others cannot go on"
            " without it; start all of them again, with --resume if an epoch was finished."
        ) from None


def train_and_save(arguments: argparse.Namespace, worker: int = 0, workers: int = 1) -> None:
    """`run` for one of several workers; only worker 0 writes anything."""
    paths = choose_output_paths(arguments)
    check_backend()
    strategy = join_workers() if workers > 1 else None  # before TensorFlow computes anything
    initial, initial_record = load_model(arguments.init) if arguments.init else (None, {})
    if worker:
        train_into(paths, arguments, initial, initial_record, worker, workers, strategy)
        return
    make_folder(paths.model.parent)
    make_folder(paths.results)
    wait = "wait for it, stop it, or give another"
    with (
        locked(paths.model, f"{paths.model}", f"{wait} --model"),
        locked(paths.results, f"the log in {paths.results}", f"{wait} --results"),
    ):
        train_into(paths, arguments, initial, initial_record, worker, workers, strategy)


def train_into(
    paths: OutputPaths,
    arguments: argparse.Namespace,
    initial: keras.Model | None,
    initial_record: dict[str, Any],
    worker: int,
    workers: int,
    strategy: Any,
) -> None:
    """Load, split, train and save, in places that nobody else writes to."""
    csvs = arguments.data or [path for path in [find_data("training")] if path]
    settings = choose_settings(arguments, bool(csvs), workers)
    if csvs:
        files = load_files(csvs, arguments.complete_only, settings.alike)
    else:
        files = [make_synthetic_faces(arguments, settings, workers)]
    names = files[0].names
    if not check_labels(files):
        settings = replace(settings, flip=0.0)
    if initial:
        known = names_of(initial, initial_record)
        check_sides(files[0], arguments.init, known, initial_record.get("mean_face"))
        initial = started_from(arguments.init, initial, initial_record, names, settings.seed)
    faces = join(files, arguments, settings, workers)

    training, validation = split_faces(
        faces, settings.validation_split, settings.further_split, settings.seed
    )
    held_out = faces.take(validation)
    precision = arguments.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16() else "float32"
    print(
        f"{len(training)} faces to train on, {len(validation)} held out; {settings.epochs} epochs"
        f" in {precision}, seed {settings.seed}.",
        flush=True,
    )
    record = describe(
        asdict(settings),
        precision,
        arguments.complete_only,
        files,
        bool(csvs),
        held_out,
        paths.model,
    )
    record["mean_face"] = compute_mean_face(faces.key_points[training])
    if paths.resume.exists() and not arguments.resume:
        print(f"{paths.resume} of an unfinished training is there: starting anew, without it.")

    outcome = train(
        faces.take(training),
        held_out,
        settings,
        precision,
        paths.results / "training_log.csv",
        initial,
        Checkpoint(paths.resume, what_must_match(record, initial)),
        arguments.resume,
        strategy,
        worker,
        workers,
    )
    if outcome is not None:
        record["results"] = {"training_faces": len(training)}
        save(outcome, paths, record, held_out, files)


class OutputPaths(NamedTuple):
    """Where a training writes."""

    model: Path
    results: Path
    resume: Path


def choose_output_paths(arguments: argparse.Namespace) -> OutputPaths:
    """Where to write. Raises InputError for what cannot be a model, or resumed."""
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


def choose_settings(arguments: argparse.Namespace, real: bool, workers: int) -> Settings:
    """The settings that the command line asks for; `real`: there are files to train on."""
    settings = Settings(
        epochs=arguments.epochs or (Settings.epochs if real else SYNTHETIC_EPOCHS),
        batch_size=arguments.batch_size or (Settings.batch_size if real else SYNTHETIC_BATCH),
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        validation_split=arguments.validation_split,
        alike=tuple(arguments.alike),
    )
    if arguments.dry_run:
        size = 16 if workers == 1 else PART * workers
        settings = replace(settings, epochs=arguments.epochs or 2, batch_size=size)
    return settings


# --- load ----------------------------------------------------------------------------------------


def make_synthetic_faces(arguments: argparse.Namespace, settings: Settings, workers: int) -> Faces:
    """Synthetic faces to train on; says so."""
    print(
        f"{HERE / 'data' / 'training.csv'} is not there (data/README.md says where to get the"
        " real faces): training on synthetic faces."
    )
    count = 64 * workers if arguments.dry_run else SYNTHETIC_COUNT
    return synthetic_faces(count, settings.seed)


def started_from(
    path: Path, initial: keras.Model, record: dict[str, Any], names: Names, seed: int
) -> keras.Model:
    """The model at `path` made to fit the key points `names`; says which of them start anew.

    Raises InputError if it has another body than `build_model` gives.
    """
    import keras

    known = names_of(initial, record)
    new = tuple(name for name in names if name not in known)
    if new:
        print(
            f"{path} does not know {len(new)} of the {len(names)} key points, which start anew:"
            f" {some_of(new)}"
        )
    keras.utils.set_random_seed(seed)
    try:
        return warm_start(initial, known, names)
    except ValueError:
        raise InputError(
            f"{path} has other layers than the network that is trained; --init needs a model made"
            " by this model_builder.py."
        ) from None


def join(
    files: list[Faces], arguments: argparse.Namespace, settings: Settings, workers: int
) -> Faces:
    """The files' faces as one Faces, in a dry run some of them."""
    faces = join_faces(files)
    repeated = sum(len(file.rows) for file in files) - len(faces.rows)
    if repeated:
        print(f"{repeated} repeated rows left out.")
    if arguments.dry_run:
        some = np.random.default_rng(settings.seed).permutation(len(faces.rows))[: 64 * workers]
        faces = faces.take(np.sort(some))
    return faces


# --- loss ----------------------------------------------------------------------------------------


def masked_loss(threshold: float) -> Callable[[Any, Any], Any]:
    """Huber loss in pixels, a Keras loss function of (N, 2K) coordinates; NaN truth is masked.

    Squared error up to `threshold` pixels, linear beyond; each face's sum (N,), divided by the
    number of coordinates. `batches` gives the weights that make the mean over a batch's faces one
    over its labelled coordinates: over all of them, however many workers share the batch.
    """
    from keras import ops

    def loss(truth: Any, predicted: Any) -> Any:
        labelled = ops.logical_not(ops.isnan(truth))
        # The inner `where` keeps NaN out of the gradient too: NaN * 0 would still be NaN.
        error = ops.abs(ops.where(labelled, predicted - ops.where(labelled, truth, 0), 0))
        each = ops.where(error < threshold, error**2, threshold * (2 * error - threshold))
        return ops.mean(each, axis=-1)

    return loss


# --- train ---------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What a training leaves."""

    model: keras.Model  # float32, with the averaged weights
    history: list[dict[str, Any]]  # per epoch: number, loss, held-out RMSE, learning rate, seconds
    few_points_offset: list[list[float]] | None  # by how much rows of few points (source -1) are
    # marked elsewhere: 15 pairs of pixels; None without such rows


@plain_keras()
def train(
    training: Faces,
    validation: Faces,
    settings: Settings,
    precision: str = "float32",
    log_path: Path | None = None,
    initial: keras.Model | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    strategy: Any = None,
    worker: int = 0,
    workers: int = 1,
) -> Outcome | None:
    """Train on `training`, watch the error on `validation`, and return the outcome.

    Args:
        training, validation: Faces with key points; NaN is masked.
        settings: Settings.
        precision: "float32" or "bfloat16" for the body's arithmetic while training.
        log_path: CSV file to which each epoch's line is written as soon as it is known.
        initial: a model of this shape to go on from (warm start); unset: random weights.
        checkpoint: a Checkpoint to write after every epoch. With it Ctrl-C ends the training
            early, with the averaged weights of the last finished epoch; at least one must be.
        resume: go on from what the checkpoint holds.
        strategy: a tf.distribute.Strategy; unset: this machine's GPUs, where there are several.
        worker, workers: as from `find_worker`; only worker 0 writes anything.

    Returns:
        Outcome for worker 0, None for the others.

    Raises InputError if the batch cannot be shared.
    """
    import keras

    print("Building the network ...", flush=True)
    keras.utils.set_random_seed(settings.seed)
    if not strategy and keras.backend.backend() == "tensorflow":
        strategy = share_among_gpus(settings.batch_size)
    check_batch_size(settings.batch_size, len(epoch_rows(training, settings)), workers, strategy)
    everyone = np.append(training.source, validation.source)
    few = bool(everyone.min() < 0)
    sources = int(everyone.max()) + 1 + few
    alike = [training.names.index(name) for name in settings.alike]
    build = partial(build_networks, precision, sources, training.names, alike)
    with strategy.scope() if strategy else nullcontext():
        network, model = build()
        if initial is not None:
            network.set_weights(initial.get_weights())
    learn_only_spread(network, False)
    per_epoch = max(len(epoch_rows(training, settings)) // settings.batch_size, 1)
    model = compile_training(model, settings, per_epoch * settings.epochs, strategy)
    history = checkpoint.restore(model) if checkpoint and resume else []
    watch = progress(model, validation, settings.epochs, per_epoch, history, checkpoint, log_path)
    # A warm start knows the hard views already.
    augmentation = settings if initial is not None else milder(settings, settings.epochs)
    steps = per_epoch * (settings.epochs - len(history))
    print("Preparing the first step, which takes some ten seconds ...", flush=True)
    try:
        with unwrapped_interrupts(), progress_bar("training, step", steps) as advance:
            model.fit(
                batches(training, augmentation, len(history), worker, workers),
                steps_per_epoch=per_epoch,
                initial_epoch=len(history),
                epochs=settings.epochs,
                shuffle=False,  # `batches` does
                verbose=0,
                callbacks=[each_step(advance)] if worker else [each_step(advance), watch],
            )
    except KeyboardInterrupt:
        if worker or not (checkpoint and history):
            raise
        acknowledge_stop()
        history = checkpoint.restore(model)
        model.optimizer.finalize_variable_values(model.trainable_variables)
    if worker:
        return None
    if strategy:  # the rest is small: without the others
        weights = model.get_weights()
        network, model = build()
        model.set_weights(weights)
    learn_spread(network, model, training, settings, checkpoint)
    print("Calibrating the spread, and looking at the held-out faces ...", flush=True)
    final, offsets = finish(network, model, validation, sources, alike, settings.flip > 0)
    return Outcome(final, history, offsets[-1].tolist() if few else None)


def build_networks(
    precision: str, sources: int, names: Names, alike: Sequence[int]
) -> tuple[keras.Model, keras.Model]:
    """The network, and the model that is trained: the same layers with the sources' offsets."""
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    network = build_model(dtype, len(names))
    return network, with_source_offsets(network, sources, mirror_partners(names), alike)


def compile_training(
    model: keras.Model, settings: Settings, steps: int, strategy: Any
) -> keras.Model:
    """The model compiled for a training of so many steps, shared where there is a strategy."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, short_memory(steps))
    warmup = min(settings.warmup_steps, steps // 5)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps - warmup, 1),
        alpha=0.01,
    )
    with strategy.scope() if strategy else nullcontext():
        optimizer = make_optimizer(schedule, settings.weight_decay, settings.ema_momentum, steps)
        optimizer.build(model.trainable_variables)  # or else the first step is traced twice
    if strategy:
        model = replicated(model, strategy)
    model.compile(optimizer, {"key_points": masked_loss(settings.huber_px), "spread": None})
    return model


@contextmanager
def unwrapped_interrupts() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt, also where it comes while TensorFlow draws a batch, which
    makes an error of its own out of it."""
    try:
        yield
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        raise


def learn_spread(
    network: keras.Model,
    model: keras.Model,
    training: Faces,
    settings: Settings,
    checkpoint: Checkpoint | None,
) -> None:
    """`fit_spread`; a Ctrl-C says that nothing is lost, where there is a checkpoint."""
    try:
        with unwrapped_interrupts():
            fit_spread(network, model, training, settings, settings.epochs)
    except KeyboardInterrupt:
        if not checkpoint:
            raise
        raise KeyboardInterrupt(
            "stopped while the spread was learned, before anything was saved; the epochs are kept:"
            " to go on, give the same command with --resume."
        ) from None


def finish(
    network: keras.Model,
    model: keras.Model,
    validation: Faces,
    sources: int,
    alike: Sequence[int],
    mirror: bool = True,
) -> tuple[keras.Model, np.ndarray]:
    """The network as it is saved, calibrated, and the sources' offsets (sources, K, 2) in pixels.

    In float32: it then predicts the same on a machine without bfloat16.
    """
    from keras import ops

    names = validation.names
    final = build_model(count=len(names))
    final.set_weights(network.get_weights())
    # By how much each source marks the points elsewhere: its view of one and the same picture.
    judged = with_source_offsets(final, sources, mirror_partners(names), alike)
    judged.get_layer("source_offsets").set_weights(model.get_layer("source_offsets").get_weights())
    picture = model_inputs(validation)[0][:1]
    views = np.repeat(picture, sources, axis=0), np.arange(sources)[:, None]
    moved = ops.convert_to_numpy(judged(views)["key_points"]).reshape(sources, -1, 2)
    offsets = moved - moved[:1]
    # Calibrated as it will be used: on faces that were held out, with flip averaging.
    key_points, spread = predict(final, validation.pictures, mirror, names=names)
    calibrate(final, key_points + offsets[validation.source], spread, validation.key_points)
    return final, offsets


# --- save ----------------------------------------------------------------------------------------


def save(
    outcome: Outcome,
    paths: OutputPaths,
    record: dict[str, Any],
    held_out: Faces,
    files: list[Faces],
) -> None:
    """Score the model, save it with its record and the training's curves, and say so.

    Raises KeyboardInterrupt, which says how to go on, if Ctrl-C ended the training early.
    """
    model, history, few_points_offset = outcome
    epochs, model_path = record["settings"]["epochs"], paths.model
    finished = len(history) == epochs
    if not finished and not unfinished(model_path):
        model_path = model_path.with_suffix(".stopped.keras")  # the earlier one is worth more
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


def score_files(
    model: keras.Model,
    held_out: Faces,
    files: list[Faces],
    few_points_offset: list[list[float]] | None,
    mirrored: bool = True,
) -> list[dict[str, Any]]:
    """Held-out RMSE in pixels per file: each has its own convention, the model speaks the first's.

    The first file's rows of few points are judged with their offset (15 pairs of pixels, or None).

    Returns a list of dicts, one per file: path, faces, rmse_px, rmse_mirrored_px.
    """
    scores = []
    for i, file in enumerate(files):
        part = held_out.take(held_out.file == i)
        score = {"path": str(file.path), "faces": len(part.rows)}
        if score["faces"]:
            for name, mirror in (("rmse_px", False), ("rmse_mirrored_px", mirrored)):
                found, _ = predict(model, part.pictures, mirror, names=part.names)
                if few_points_offset:
                    found[part.source < 0] += few_points_offset
                score[name] = rmse(found, part.key_points)
        scores.append(score)
    return scores


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
        " plain, .gz or .zip; the first sets which points there are and what they mean"
        " (default: data/training.csv, .csv.gz or .zip, else synthetic faces)",
        nargs="+",
        type=Path,
        metavar="PATH",
    )
    add("--model", "where to save (default: models/my_model.keras)", type=Path)
    add("--results", "folder of the log and its picture (default: results)", type=Path)
    add(
        "--init",
        "warm start: go on from this model's weights; key points that it does not know start anew",
        type=Path,
        metavar="MODEL",
    )
    add(
        "--alike",
        "key points that all files of --data mark at the same spot: they get no offset per file",
        nargs="+",
        default=[],
        metavar="NAME",
    )
    add(
        "--resume",
        "go on with a training that was stopped or killed, from its last finished epoch; give the"
        " same flags as then",
        action="store_true",
    )
    add(
        "--epochs",
        "times through the data"
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
        "the optimizer's step size at its peak",
        type=positive(float),
        default=default.learning_rate,
    )
    add("--seed", "of the split and of all that is random", type=natural, default=default.seed)
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
    add("--complete-only", "drop the rows that lack a key point", action="store_true")
    add(
        "--dry-run",
        "the whole way on 64 rows in seconds; by default into models/dry_run.keras and"
        " results/dry_run, so that no real model is overwritten",
        action="store_true",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line asks; returns the exit status."""
    return run_script(argv, parse_arguments, run)


if __name__ == "__main__":
    sys.exit(main())
