"""Small networks that are trained in Keras and run in NumPy: their weights, their convolutions.

The search for faces runs them on tens of thousands of windows. In NumPy such small networks take
half the time that they take in Keras, and where an exported model predicts the key points nothing
needs TensorFlow.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.system.files import InputError, one_line

if TYPE_CHECKING:
    import keras

CONTEXT = 8  # pixels on each side of a window that count for the contrast normalization
MIN_CONTRAST = 3.0  # grey values: a contrast far below this is noise and not amplified
CROP_STRIDES = (2, 2, 2, 1, 1)  # of the layers of `build_for_crops`, but for the last
ROWS_PER_PRODUCT = 4096  # windows in one matrix product: they fit the cache


class Weights(NamedTuple):
    """The weights of a network's layers: kernels (h, w, in, out), biases (out,), float32."""

    kernels: list[np.ndarray]
    biases: list[np.ndarray]


def weights_of(model: keras.Model, layers: Sequence[str]) -> Weights:
    """The weights of the named layers of a Keras model."""
    pairs = [[np.asarray(w) for w in model.get_layer(name).get_weights()] for name in layers]
    return Weights(*map(list, zip(*pairs, strict=True)))


def save_weights(weights: Weights, layers: Sequence[str], path: Path) -> None:
    """Write the weights as a .npz of float32 arrays, `<layer>_kernel` and `<layer>_bias`."""
    arrays: dict[str, Any] = {}
    for name, kernel, bias in zip(layers, weights.kernels, weights.biases, strict=True):
        arrays |= {f"{name}_kernel": kernel, f"{name}_bias": bias}
    with open(path, "wb") as file:  # given a name, NumPy would append .npz
        np.savez_compressed(file, **arrays)


def load_weights(layers: Sequence[str], path: Path) -> Weights:
    """Read what `save_weights` wrote. Raises InputError if that is missing or is something else."""
    try:
        with np.load(path) as arrays:
            kernels = [arrays[f"{name}_kernel"] for name in layers]
            return Weights(kernels, [arrays[f"{name}_bias"] for name in layers])
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}, which finds faces, cannot be read ({one_line(error)}); copy it again."
        ) from None


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """ReLU of a convolution of pictures (N, H, W, C) without padding."""
    h, w, _, filters = kernel.shape
    x = np.ascontiguousarray(x, np.float32)
    count, height, width = len(x), (x.shape[1] - h) // stride + 1, (x.shape[2] - w) // stride + 1
    out = np.empty((count, height, width, filters), np.float32)
    # A window's row is one run of w x C numbers. (An axis of length 1 may have any stride.)
    picture, down, across = (x.itemsize * int(np.prod(x.shape[i:])) for i in (1, 2, 3))
    patches = np.lib.stride_tricks.as_strided(
        x,
        (count, height, width, h, w * x.shape[3]),
        (picture, down * stride, across * stride, down, x.itemsize),
    )
    matrix = kernel.reshape(-1, filters)
    pictures, rows = max(1, ROWS_PER_PRODUCT // (height * width)), max(1, ROWS_PER_PRODUCT // width)
    for first in range(0, count, pictures):
        for top in range(0, height, rows):
            part = np.s_[first : first + pictures, top : top + rows]
            flat = out[part].reshape(-1, filters)  # several pictures only where all rows fit
            np.matmul(patches[part].reshape(len(flat), -1), matrix, out=flat)
            flat += bias
            np.maximum(flat, 0, out=flat)
    return out


def convolve_all(x: np.ndarray, network: Weights, strides: Sequence[int]) -> np.ndarray:
    """Pictures (N, H, W, C) through a network's first layers, as many as there are `strides`."""
    first = slice(len(strides))
    for kernel, bias, stride in zip(
        network.kernels[first], network.biases[first], strides, strict=True
    ):
        x = convolve(x, kernel, bias, stride)
    return x


def build_for_crops(
    side: int, sort: tuple[int, int], last: str, outputs: int, name: str
) -> keras.Model:
    """A network of single crops as a Keras model, from crops after `normalize_contrast` (N, side,
    side, 1) to (N, 1, 1, outputs).

    `sort`: filters and kernel size of the layer before the `last` one, which sees what is left.
    """
    import keras
    from keras import layers

    convolution = partial(layers.Conv2D, activation="relu", kernel_initializer="he_normal")
    crop = keras.Input((side, side, 1), name="crop")
    x = convolution(24, 4, strides=2, name="edges")(crop)
    x = convolution(48, 3, strides=2, name="parts")(x)
    x = convolution(64, 3, strides=2, name="corners")(x)
    x = convolution(96, 3, name="whole")(x)
    x = convolution(*sort, name="sorted")(x)
    return keras.Model(crop, layers.Conv2D(outputs, 1, name=last)(x), name=name)


def run_on_crops(network: Weights, crops: np.ndarray) -> np.ndarray:
    """The numbers (N, outputs) that a network as from `build_for_crops` gives for crops, grey
    values (N, P, P) with `CONTEXT` pixels around."""
    kernels, biases = network
    if not len(crops):
        return np.empty((0, len(biases[-1])), np.float32)
    x = normalize_contrast(crops)[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT, None]
    x = convolve_all(x, network, CROP_STRIDES).reshape(len(crops), kernels[-1].shape[2])
    return x @ kernels[-1].reshape(x.shape[1], -1) + biases[-1]


def normalize_contrast(grey: np.ndarray) -> np.ndarray:
    """Local contrast normalization of pictures (..., H, W), sides multiples of 4: float32.

    Each block of 4x4 pixels has the mean of the 5x5 blocks around it subtracted and is divided by
    their standard deviation: then dark, pale and backlit faces look alike.
    """
    *most, height, width = grey.shape
    rows = grey.reshape(*most, height // 4, 4, width).astype(np.float32)
    mean = _box(_block_means(rows))
    variance = _box(_block_means(rows * rows)) - mean**2
    scale = 1 / (np.sqrt(np.maximum(variance, 0)) + MIN_CONTRAST)
    rows -= np.repeat(mean, 4, -1)[..., None, :]
    rows *= np.repeat(scale, 4, -1)[..., None, :]
    return rows.reshape(grey.shape)


def _block_means(rows: np.ndarray) -> np.ndarray:
    """Means of blocks of 4x4 pixels, (..., h, w), of every four rows (..., h, 4, 4w)."""
    columns = rows.sum(-2)
    return columns.reshape(*columns.shape[:-1], -1, 4).sum(-1) / 16


def _box(values: np.ndarray) -> np.ndarray:
    """Means over 5x5 neighbours in the last two axes; the border is repeated beyond it."""
    for axis in (-2, -1):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (2, 2)
        padded = np.pad(values, pad, "edge")
        count = values.shape[axis]
        shifted = [np.take(padded, range(i, i + count), axis) for i in range(5)]
        values = np.sum(shifted, 0) / 5
    return values
