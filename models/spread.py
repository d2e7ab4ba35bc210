"""The spread: how far off each key point may be, as σ, the standard deviation per axis in pixels.

Its regions, how it is learned, and how it is calibrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.batches import batches_with_non_faces, epoch_rows
from data.faces import Faces
from data.key_points import JAW, Names
from data.settings import Settings
from data.system.progress import progress_bar
from models.training.loss import spread_loss
from models.training.progress import step_callback

if TYPE_CHECKING:
    import keras


def region_radius(share: float) -> float:
    """Radius of the disc that contains `share` (0 .. 1) of a normal distribution in the plane, in
    standard deviations per axis."""
    return float(np.sqrt(-2 * np.log(1 - share)))


REGION_90 = region_radius(0.9)


def face_spread(spread: np.ndarray, names: Names = ()) -> np.ndarray:
    """One number per face, (N,): the root mean square of its points' spreads (N, K).

    Points of spread NaN, which the training never saw labelled, do not count. With `names` (K,),
    to tell faces from other things, nor do points of the jaw where there are others: nothing
    marks how far along the jaw they lie, so theirs is always large.
    """
    inner = np.array([name not in JAW for name in names], bool)
    if len(names):
        inner &= np.isfinite(spread).any(0)
    return np.sqrt(np.nanmean((spread[:, inner] if inner.any() else spread) ** 2, 1))


def freeze_spread(network: keras.Model) -> None:
    """Freeze the layers that only the spread depends on, and train all others."""
    for layer in network.layers:
        layer.trainable = not layer.name.startswith("spread")


def train_only_spread(network: keras.Model) -> None:
    """Train the layers that only the spread depends on, and freeze all others.

    Frozen too is the last of them, which holds the calibration's factors.
    """
    for layer in network.layers:
        layer.trainable = layer.name.startswith("spread") and layer.name != "spread"


def fit_spread(
    network: keras.Model,
    model: keras.Model,
    training: Faces,
    settings: Settings,
    first_epoch: int,
) -> None:
    """Learn the spread with all layers frozen that the key points depend on: those do not change.

    Args:
        network, model: the network, and the one `with_source_offsets`.
        training: the faces whose errors it learns to predict.
        settings: the spread's steps, the batches and the augmentation.
        first_epoch: number of the first epoch whose training samples are still unseen.
    """
    import keras
    from keras import ops

    train_only_spread(network)
    found = ops.reshape(model.output["key_points"], (-1, len(training.names), 2))
    found = ops.concatenate([found, ops.expand_dims(model.output["spread"], -1)], axis=-1)
    per_epoch = max(len(epoch_rows(training, settings)) // settings.batch_size, 1)
    steps = min(per_epoch * settings.spread_epochs, settings.spread_steps)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    learner = keras.Model(model.inputs, found)
    learner.get_layer("source_offsets").trainable = False
    optimizer = keras.optimizers.Adam(schedule, clipnorm=10.0)
    optimizer.build(learner.trainable_variables)  # otherwise the first step is traced twice
    learner.compile(optimizer, spread_loss)
    with progress_bar("learning the spread, step", steps) as advance:
        learner.fit(
            batches_with_non_faces(training, settings, first_epoch),
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[step_callback(advance)],
        )


def calibrate(
    network: keras.Model, key_points: np.ndarray, spread: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Scale the spread so that 90 % of the true points lie within their 90 % regions.

    One factor per key point, from held-out faces. The factors become weights of the network.

    Args:
        network: as from `build_model`; its last layer gets the factors.
        key_points, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.

    Returns:
        The factors, (K,).
    """
    if not np.isfinite(truth).any():
        return np.ones(truth.shape[1])
    ratio = np.linalg.norm(key_points - truth, axis=-1) / (REGION_90 * spread)
    few = np.isfinite(ratio).sum(0) < 50  # too few for a 90 % quantile: all points' factor
    ratio[:, few] = np.nanquantile(ratio, 0.9)
    factors = np.nanquantile(ratio, 0.9, axis=0)
    layer = network.get_layer("spread")
    layer.set_weights([layer.get_weights()[0] * factors])
    return factors
