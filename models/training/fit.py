"""The training itself: the epochs, then the spread, then its calibration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.batches import batches, epoch_rows
from data.faces import Faces, labelled_points
from data.key_points import Names, mirror_partners
from data.settings import Settings, scale_augmentation
from data.system.progress import progress_bar
from data.system.signals import acknowledge_stop
from models.network import build_model, plain_keras, predict, with_source_offsets
from models.spread import calibrate, fit_spread, freeze_spread
from models.storage import Checkpoint
from models.training.loss import masked_loss
from models.training.optimizer import learning_rate_schedule, longest_momentum, make_optimizer
from models.training.progress import epoch_callback, model_inputs, step_callback
from models.training.workers import Worker, check_batch_size, replicated, share_among_gpus

if TYPE_CHECKING:
    import keras


class Outcome(NamedTuple):
    """The result of a training."""

    model: keras.Model  # float32, with the averaged weights
    history: list[dict[str, Any]]  # per epoch: number, loss, held-out RMSE, learning rate, seconds
    few_points_offset: list[list[float]] | None  # how far from the first file's convention its
    # rows of few points (source -1) are labelled: K pairs of pixels; None without such rows


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
    worker: Worker | None = None,
) -> Outcome | None:
    """Train on `training`, measure the error on `validation` after each epoch.

    Args:
        training, validation: Faces with key points; NaN is masked.
        settings: Settings.
        precision: "float32" or "bfloat16" for the body's arithmetic while training.
        log_path: CSV file that gets a line after every epoch.
        initial: a model of the same shape for a warm start; unset: random weights.
        checkpoint: is written after every epoch. With it Ctrl-C ends the training early, with the
            averaged weights of the last finished epoch, if there is one.
        resume: continue from the checkpoint.
        worker: this process's part; unset: it trains alone, on all GPUs of this machine.

    Returns:
        Outcome for worker 0, None for the others.

    Raises InputError if the batch cannot be shared.
    """
    import keras

    print("Building the network ...", flush=True)
    keras.utils.set_random_seed(settings.seed)
    worker = worker or Worker()
    if not worker.strategy and keras.backend.backend() == "tensorflow":
        worker = replace(worker, strategy=share_among_gpus(settings.batch_size))
    rows = len(epoch_rows(training, settings))
    check_batch_size(settings.batch_size, rows, worker)
    sources = find_sources(training, validation, settings)
    with worker.scope():
        network, model = build_networks(precision, sources, training.names)
        if initial is not None:
            network.set_weights(initial.get_weights())
    freeze_spread(network)
    per_epoch = max(rows // settings.batch_size, 1)
    steps = per_epoch * settings.epochs
    model = compile_training(model, training.names, settings, steps, worker)
    history = checkpoint.restore(model) if checkpoint and resume else []
    watch = epoch_callback(
        model, validation, settings.epochs, per_epoch, history, checkpoint, log_path
    )
    # A warm start knows the hard views already.
    augmented = settings
    if initial is None:
        augmented = scale_augmentation(settings, settings.epochs, rows)
    history = fit_epochs(model, training, augmented, per_epoch, history, checkpoint, watch, worker)
    if worker.number:
        return None
    if worker.strategy:  # what is left is little work: this process does it alone
        weights = model.get_weights()
        network, model = build_networks(precision, sources, training.names)
        model.set_weights(weights)
    learn_spread(network, model, training, settings, checkpoint)
    print("Calibrating the spread, and looking at the held-out faces ...", flush=True)
    final, offsets = finish(network, model, validation, sources, settings.flip > 0)
    return Outcome(final, history, offsets[-1].tolist() if sources.few_points else None)


@dataclass(frozen=True)
class Sources:
    """The conventions by which the faces are labelled; each but the first gets an offset."""

    count: int  # the files, and perhaps the first one's rows of few points
    few_points: bool  # whether the last source is those rows
    alike: list[int]  # key points without offsets: all sources label the same spot, as far as known


def find_sources(training: Faces, validation: Faces, settings: Settings) -> Sources:
    """The sources of the faces, counted over both parts.

    A point that the first source never labels has no convention there and so no offsets either:
    without labels nothing would hold the network itself to any spot.
    """
    present = np.append(training.source, validation.source)
    few_points = bool(present.min() < 0)
    learned = labelled_points(training.take(training.source == 0), settings.flip > 0)
    alike = np.flatnonzero(np.isin(training.names, settings.alike) | ~learned).tolist()
    return Sources(int(present.max()) + 1 + few_points, few_points, alike)


def build_networks(
    precision: str, sources: Sources, names: Names
) -> tuple[keras.Model, keras.Model]:
    """The network, and the model that is trained: the same layers with the sources' offsets."""
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    network = build_model(dtype, len(names))
    partners = mirror_partners(names)
    return network, with_source_offsets(network, sources.count, partners, sources.alike)


def point_weights(names: Names, settings: Settings) -> np.ndarray:
    """How much each key point counts in the loss, (K,)."""
    return np.where(np.isin(names, settings.emphasized), settings.emphasis, 1.0)


def compile_training(
    model: keras.Model, names: Names, settings: Settings, steps: int, worker: Worker
) -> keras.Model:
    """The model of these key points, compiled for a run of so many steps, shared by the worker's
    strategy."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, longest_momentum(steps))
    schedule = learning_rate_schedule(settings.learning_rate, settings.warmup_steps, steps)
    with worker.scope():
        optimizer = make_optimizer(schedule, settings.weight_decay, settings.ema_momentum, steps)
        optimizer.build(model.trainable_variables)  # otherwise the first step is traced twice
    if worker.strategy:
        model = replicated(model, worker.strategy)
    loss = masked_loss(settings.huber_px, point_weights(names, settings))
    model.compile(optimizer, {"key_points": loss, "spread": None})
    return model


def fit_epochs(
    model: keras.Model,
    training: Faces,
    settings: Settings,
    per_epoch: int,
    history: list[dict[str, Any]],
    checkpoint: Checkpoint | None,
    watch: keras.callbacks.Callback,
    worker: Worker,
) -> list[dict[str, Any]]:
    """Train the epochs that are missing from the history; returns the whole history.

    Ctrl-C ends the training early with the weights and history of the last finished epoch, which
    the checkpoint holds; without one it is raised.
    """
    done = len(history)
    steps = per_epoch * (settings.epochs - done)
    print("Preparing the first step, which takes some ten seconds ...", flush=True)
    try:
        with unwrapped_interrupts(), progress_bar("training, step", steps) as advance:
            step = step_callback(advance)
            model.fit(
                batches(training, settings, done, worker.number, worker.count),
                steps_per_epoch=per_epoch,
                initial_epoch=done,
                epochs=settings.epochs,
                shuffle=False,  # `batches` does
                verbose=0,
                callbacks=[step] if worker.number else [step, watch],
            )
    except KeyboardInterrupt:
        if worker.number or not (checkpoint and history):
            raise
        acknowledge_stop()
        history = checkpoint.restore(model)
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return history


@contextmanager
def unwrapped_interrupts() -> Iterator[None]:
    """Raise Ctrl-C as KeyboardInterrupt even where it comes while TensorFlow draws a batch, which
    turns it into an error of its own."""
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
            "stopped while the spread was learned, before the model was saved; the epochs are kept:"
            " to go on, give the same command with --resume."
        ) from None


def finish(
    network: keras.Model,
    model: keras.Model,
    validation: Faces,
    sources: Sources,
    mirror: bool = True,
) -> tuple[keras.Model, np.ndarray]:
    """The network as it is saved, calibrated, and the sources' offsets (sources, K, 2) in pixels.

    It is float32, so that it predicts the same on a machine without bfloat16.
    """
    from keras import ops

    final, whole = build_networks("float32", sources, validation.names)
    final.set_weights(network.get_weights())
    whole.get_layer("source_offsets").set_weights(model.get_layer("source_offsets").get_weights())
    # A source's offset: how far its prediction for a picture is from the first source's.
    picture = model_inputs(validation)[0][:1]
    inputs = np.repeat(picture, sources.count, axis=0), np.arange(sources.count)[:, None]
    moved = ops.convert_to_numpy(whole(inputs)["key_points"]).reshape(sources.count, -1, 2)
    offsets = moved - moved[:1]
    # Calibrated as it will be used: on held-out faces, with flip averaging.
    key_points, spread = predict(final, validation.pictures, mirror, names=validation.names)
    calibrate(final, key_points + offsets[validation.source], spread, validation.key_points)
    return final, offsets
