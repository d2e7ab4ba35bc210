"""The two losses: of the key points, and of the spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def masked_loss(threshold: float, weights: np.ndarray | None = None) -> Callable[[Any, Any], Any]:
    """Huber loss in pixels, a Keras loss function of (N, 2K) coordinates; NaN truth is masked.

    Squared error up to `threshold` pixels, linear beyond, times its key point's weight (K,), if
    given; each face's sum (N,), divided by the number of coordinates. `batches` gives the faces'
    weights that make the mean over a batch's faces one over its labelled coordinates: over all of
    them, however many workers share the batch.
    """
    from keras import ops

    by_coordinate = 1.0 if weights is None else np.repeat(np.float32(weights), 2)

    def loss(truth: Any, predicted: Any) -> Any:
        labelled = ops.logical_not(ops.isnan(truth))
        # The inner `where` keeps NaN out of the gradient too: NaN * 0 would still be NaN.
        error = ops.abs(ops.where(labelled, predicted - ops.where(labelled, truth, 0), 0))
        each = ops.where(error < threshold, error**2, threshold * (2 * error - threshold))
        return ops.mean(by_coordinate * each, axis=-1)

    return loss


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
