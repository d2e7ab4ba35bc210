"""The face finder: a small fully convolutional network that looks at every window of a picture.

It says of each window of 24 pixels how likely that shows a face, and how the face lies in it. Most
windows are settled by its first layers; only the likely ones go through the last. It is trained
and kept as a Keras model (`tests/benchmarks/train_face_finder.py`; `models/face_finder.keras`) and
runs here in NumPy, from the same weights in `models/face_finder.npz`: so small a network takes half
of Keras's time that way, because Keras has to take each window through all layers, and where the
key points come from an exported model nothing needs TensorFlow.
"""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.files import HERE, InputError, one_line

if TYPE_CHECKING:
    import keras

WINDOW = 24  # pixels: the side of a window, and of a face, cropped as trained, that fills it
STRIDE = 4  # pixels from one window to the next
CONTEXT = 8  # pixels round a window that decide how its light is made level
FLAT = 3.0  # grey values: contrast far below this is noise, and not stretched
LIKELY = 0.0  # the first layers' logit from which a window goes on; lower ones gain nothing
LAYERS = ("edges", "parts", "corners", "likely", "whole", "sorted", "face")
FINDER = HERE / "models" / "face_finder.npz"


class Finder(NamedTuple):
    """The weights of each of LAYERS: kernels (h, w, in, out), biases (out,), float32."""

    kernels: list[np.ndarray]
    biases: list[np.ndarray]


def build_finder() -> keras.Model:
    """The finder as a Keras model: pictures of `even_light` (N, H, W, 1) to windows (N, h, w, 7).

    Each window's seven numbers: the logits of being likely (first layers) and of being a face, the
    cosine and the sine of the face's turn, its middle's place in the window (x, y, from the
    window's middle, in sides of the window), and the logarithm of its side in sides of the window.
    """
    import keras
    from keras import layers

    def convolution(
        name: str, filters: int, size: int, stride: int = 1, activation: str | None = "relu"
    ) -> Any:
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            activation=activation,
            kernel_initializer="he_normal",
            name=name,
        )

    picture = keras.Input((None, None, 1), name="picture")
    x = convolution("edges", 16, 4, 2)(picture)
    x = convolution("parts", 32, 3, 2)(x)
    x = convolution("corners", 32, 3)(x)
    likely = convolution("likely", 1, 3, activation=None)(x)
    x = convolution("whole", 128, 3)(x)
    x = convolution("sorted", 48, 1)(x)
    face = convolution("face", 6, 1, activation=None)(x)
    return keras.Model(picture, layers.Concatenate(name="windows")([likely, face]), name="finder")


def weights_of(model: keras.Model) -> Finder:
    """The weights of a Keras model as `build_finder` gives."""
    pairs = [[np.asarray(w) for w in model.get_layer(name).get_weights()] for name in LAYERS]
    return Finder(*map(list, zip(*pairs, strict=True)))


def save_finder(finder: Finder, path: Path) -> None:
    """Write the weights as a .npz of float32 arrays, `<layer>_kernel` and `<layer>_bias`."""
    arrays: dict[str, Any] = {}
    for name, kernel, bias in zip(LAYERS, finder.kernels, finder.biases, strict=True):
        arrays |= {f"{name}_kernel": kernel, f"{name}_bias": bias}
    with open(path, "wb") as file:  # given a name, NumPy would append .npz
        np.savez(file, **arrays)


@cache
def load_finder(path: Path = FINDER) -> Finder:
    """Read what `save_finder` wrote. Raises InputError if that is missing or something else."""
    try:
        with np.load(path) as arrays:
            kernels = [arrays[f"{name}_kernel"] for name in LAYERS]
            return Finder(kernels, [arrays[f"{name}_bias"] for name in LAYERS])
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}, the finder of faces, cannot be read ({one_line(error)}); copy it again."
        ) from None


def even_light(grey: np.ndarray) -> np.ndarray:
    """A picture (..., H, W), sides multiples of 4, with its light made level: float32.

    From each block of 4x4 pixels the mean of the 5x5 blocks round it is taken off, and what is
    left is divided by their standard deviation: dark, pale and backlit faces look alike then.
    """
    *most, height, width = grey.shape
    rows = grey.reshape(*most, height // 4, 4, width).astype(np.float32)
    mean = _box(_block_means(rows))
    variance = _box(_block_means(rows * rows)) - mean**2
    scale = 1 / (np.sqrt(np.maximum(variance, 0)) + FLAT)
    rows -= np.repeat(mean, 4, -1)[..., None, :]
    rows *= np.repeat(scale, 4, -1)[..., None, :]
    return rows.reshape(grey.shape)


def _block_means(rows: np.ndarray) -> np.ndarray:
    """Means of blocks of 4x4 pixels, (..., h, w), of every four rows (..., h, 4, 4w)."""
    columns = rows.sum(-2)
    return columns.reshape(*columns.shape[:-1], -1, 4).sum(-1) / 16


def _box(values: np.ndarray) -> np.ndarray:
    """Means over 5x5 neighbours in the last two axes; beyond the border it goes on as there."""
    for axis in (-2, -1):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (2, 2)
        padded = np.pad(values, pad, "edge")
        count = values.shape[axis]
        shifted = [np.take(padded, range(i, i + count), axis) for i in range(5)]
        values = np.sum(shifted, 0) / 5
    return values


def _convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """ReLU of a convolution of x (H, W, C) without padding; some rows at a time fit the cache."""
    h, w, _, filters = kernel.shape
    height, width = (x.shape[0] - h) // stride + 1, (x.shape[1] - w) // stride + 1
    out = np.empty((height, width, filters), np.float32)
    down, across, deep = x.strides
    # A window's row is one run of w x C numbers.
    patches = np.lib.stride_tricks.as_strided(
        x, (height, width, h, w * x.shape[2]), (down * stride, across * stride, down, deep)
    )
    matrix = kernel.reshape(-1, filters)
    rows = max(1, 4096 // width)
    for top in range(0, height, rows):
        part = patches[top : top + rows]
        flat = out[top : top + rows].reshape(-1, filters)
        np.matmul(part.reshape(len(flat), -1), matrix, out=flat)
        flat += bias
        np.maximum(flat, 0, out=flat)
    return out


def look(
    finder: Finder, picture: np.ndarray, likely: float = LIKELY
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a picture with level light (H, W) that are likely faces.

    Returns their places (M, 2), x and y of the upper left pixel, and their seven numbers (M, 7), as
    `build_finder` describes them; whatever is not likely is left out.
    """
    kernels, biases = finder
    x = np.ascontiguousarray(picture, np.float32).reshape(*picture.shape, 1)
    if min(picture.shape) < WINDOW:
        return np.empty((0, 2), int), np.empty((0, 7), np.float32)
    for kernel, bias, stride in zip(kernels[:3], biases[:3], (2, 2, 1), strict=True):
        x = _convolve(x, kernel, bias, stride)
    height, width = x.shape[0] - 2, x.shape[1] - 2
    # The sum over each 3x3 neighbourhood, from the nine products of each place.
    products = x @ kernels[3][..., 0].reshape(9, -1).T
    first = (
        sum(products[i // 3 : i // 3 + height, i % 3 : i % 3 + width, i] for i in range(9))
        + biases[3]
    )
    y, across = np.nonzero(first > likely)
    rows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))[y, across]
    values = rows.transpose(0, 2, 3, 1).reshape(len(y), 9 * x.shape[2])
    for kernel, bias in zip(kernels[4:], biases[4:], strict=True):
        values = np.maximum(values, 0) @ kernel.reshape(-1, kernel.shape[-1]) + bias
    return STRIDE * np.stack([across, y], -1), np.column_stack([first[y, across], values])
