"""Ramps, Gaussian bells and smooth noise: the functions that synthetic faces are drawn with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Numbers = float | np.ndarray  # of any shape


def ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """0 below, 1 above, and a linear ramp of this width around distance 0."""
    return np.clip(distance / width + 0.5, 0, 1)


def bell(distance: np.ndarray, width: Numbers) -> np.ndarray:
    """A Gaussian of standard deviation `width`, scaled to be 1 at distance 0."""
    return np.exp(-0.5 * np.square(distance / width))


def mix(below: Numbers, above: Numbers, weight: Numbers) -> np.ndarray:
    """`below` where weight is 0, `above` where it is 1, linear in between."""
    return np.asarray(below + (above - below) * weight)


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...]
) -> np.ndarray:
    """Smooth noise, float32 of `shape` (rows, columns): unit normal values, interpolated.

    They lie on a coarse grid of `cells` (rows, columns): the fewer, the smoother.
    """
    coarse = rng.standard_normal(cells, dtype=np.float32)
    rows, columns = (interpolation(*ends) for ends in zip(shape, cells, strict=True))
    return rows @ coarse @ columns.T


@lru_cache(maxsize=256)
def interpolation(length: int, cells: int) -> np.ndarray:
    """Weights (length, cells) that interpolate `cells` values smoothly at `length` positions."""
    distance = np.linspace(0, cells - 1, length)[:, None] - np.arange(cells)[None]
    weight = np.clip(1 - np.abs(distance), 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)
