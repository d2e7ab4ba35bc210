"""The spread: how far off each point may be. Its regions, its loss, learning and calibrating it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data.batches import Batching, batches_with_non_faces, epoch_rows
from data.faces import Faces
from data.system.progress import progress_bar
from models.training.progress import each_step

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SpreadLearning(Batching):
    """How sure it is: learned afterwards, with the rest of the network frozen."""

    spread_epochs: int = 6  # flat after that
    spread_steps: int = 400  # but no more than these: with much data one time through it is plenty


def region_radius(share: float) -> float:
    """Radius of the disc that holds `share` (0 .. 1) of a normal distribution in the plane, in
    standard deviations per axis."""
    return float(np.sqrt(-2 * np.log(1 - share)))


REGION_90 = region_radius(0.9)


def face_spread(spread: np.ndarray) -> np.ndarray:
    """One number for each face: the root mean square of its points' spreads (N, K), (N,)."""
    return np.sqrt((spread**2).mean(1))


def spread_loss(truth: Any, found: Any) -> Any:
    """How badly the spread explains the errors, a Keras loss function; NaN truth is masked.

    The negative log likelihood of Student's t distribution in the plane with 4 degrees of
    freedom: its tails keep a few wildly wrong labels from widening all the others' regions.

    Args:
        truth: (N, 2K) coordinates.
        found: (N, K, 3): the predicted x, y and spread.
    """
    from keras import ops

    truth = ops.reshape(truth, (-1, found.shape[1], 2))
    labelled = ops.logical_not(ops.isnan(truth))
    error = ops.where(labelled, found[..., :2] - ops.where(labelled, truth, 0), 0)
    spread = found[..., 2] + 1e-3
    each = 2 * ops.log(spread) + 3 * ops.log(1 + ops.sum(error**2, -1) / (4 * spread**2))
    known = ops.cast(labelled[..., 0], each.dtype)
    return ops.sum(known * each) / ops.maximum(ops.sum(known), 1)


def learn_only_spread(network: keras.Model, only: bool) -> None:
    """Unfreeze the layers that only the spread depends on and freeze the others, or vice versa."""
    for layer in network.layers:
        layer.trainable = layer.name.startswith("spread") == only
    network.get_layer("spread").trainable = False  # the calibration's


def fit_spread(
    network: keras.Model,
    model: keras.Model,
    training: Faces,
    settings: SpreadLearning,
    first_epoch: int,
) -> None:
    """Learn the spread with all that the key points depend on frozen: they stay as they are.

    Args:
        network, model: the network, and the one `with_source_offsets`.
        training: the faces whose errors are to be explained.
        settings: how long.
        first_epoch: the number of the first epoch of views that the training has not drawn.
    """
    import keras
    from keras import ops

    learn_only_spread(network, True)
    found = ops.reshape(model.output["key_points"], (-1, len(training.names), 2))
    found = ops.concatenate([found, ops.expand_dims(model.output["spread"], -1)], axis=-1)
    per_epoch = max(len(epoch_rows(training, settings)) // settings.batch_size, 1)
    steps = min(per_epoch * settings.spread_epochs, settings.spread_steps)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    learner = keras.Model(model.inputs, found)
    learner.get_layer("source_offsets").trainable = False
    optimizer = keras.optimizers.Adam(schedule, clipnorm=10.0)
    optimizer.build(learner.trainable_variables)  # or else the first step is traced twice
    learner.compile(optimizer, spread_loss)
    with progress_bar("learning the spread, step", steps) as advance:
        learner.fit(
            batches_with_non_faces(training, settings, first_epoch),
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[each_step(advance)],
        )


def calibrate(
    network: keras.Model, key_points: np.ndarray, spread: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Scale the spread so that 90 % of the true points lie within their 90 % regions.

    One factor per key point, from held-out faces; it becomes part of the network's weights.

    Args:
        network: as from `build_model`; the factors go into its last layer.
        key_points, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.

    Returns:
        The factors, (K,).
    """
    if not np.isfinite(truth).any():
        return np.ones(truth.shape[1])
    ratio = np.linalg.norm(key_points - truth, axis=-1) / (REGION_90 * spread)
    few = np.isfinite(ratio).sum(0) < 50  # too few to tell a 90 % point: all points' factor
    ratio[:, few] = np.nanquantile(ratio, 0.9)
    factors = np.nanquantile(ratio, 0.9, axis=0)
    layer = network.get_layer("spread")
    layer.set_weights([layer.get_weights()[0] * factors])
    return factors
