"""The face finder: a small fully convolutional network that looks at every window of a picture.

It says of each window of 24 pixels how likely that shows a face, and how the face lies in it. Most
windows are settled by its first layers; only the likely ones go through the last, which is why it
runs in NumPy (`models/detect/small_networks.py`): Keras takes each window through all layers.
Trained by `tests/benchmarks/train_face_finder.py` as `models/face_finder.keras`, whose weights are
also in `models/face_finder.npz`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from data.system.files import HERE
from models.detect.small_networks import Weights, convolve_all, load_weights

if TYPE_CHECKING:
    import keras

WINDOW = 24  # pixels: the side of a window, and of a face, cropped as trained, that fills it
STRIDES = (2, 2, 1)  # of the first layers
STRIDE = 4  # pixels from one window to the next
LIKELY = 0.0  # the first layers' logit from which a window goes on; lower ones gain nothing
LAYERS = ("edges", "parts", "corners", "likely", "whole", "sorted", "face")


def build_finder() -> keras.Model:
    """The finder as a Keras model: pictures of `normalize_contrast` (N, H, W, 1) to windows
    (N, h, w, 7).

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


@cache
def load_finder() -> Weights:
    """The shipped finder. Raises InputError if its file is missing or something else."""
    return load_weights(LAYERS, HERE / "models" / "face_finder.npz")


def look(
    finder: Weights, picture: np.ndarray, likely: float = LIKELY
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a picture with level light (H, W) that are likely faces.

    Returns their places (M, 2), x and y of the upper left pixel, and their seven numbers (M, 7), as
    `build_finder` describes them; whatever is not likely is left out.
    """
    kernels, biases = finder
    if min(picture.shape) < WINDOW:
        return np.empty((0, 2), int), np.empty((0, 7), np.float32)
    x = convolve_all(picture[None, ..., None], finder, STRIDES)[0]
    height, width = x.shape[0] - 2, x.shape[1] - 2
    # The sum over each 3x3 neighbourhood, from the nine products of each place.
    products = x @ kernels[3][..., 0].reshape(9, -1).T
    first = (
        sum(products[i // 3 : i // 3 + height, i % 3 : i % 3 + width, i] for i in range(9))
        + biases[3]
    )
    y, across = np.nonzero(first > likely)
    rows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))[y, across]
    rows = rows.transpose(0, 2, 3, 1).reshape(len(y), 9 * x.shape[2])
    values = np.column_stack([first[y, across], _last_layers(finder, rows)])
    return STRIDE * np.stack([across, y], -1), values


def look_closely(finder: Weights, windows: np.ndarray) -> np.ndarray:
    """The seven numbers (N, 7) of windows with level light (N, 24, 24), likely or not."""
    kernels, biases = finder
    rows = convolve_all(windows[..., None], finder, STRIDES).reshape(len(windows), -1)
    first = rows @ kernels[3].reshape(-1, 1) + biases[3]
    return np.column_stack([first, _last_layers(finder, rows)])


def _last_layers(finder: Weights, rows: np.ndarray) -> np.ndarray:
    """The six last numbers (M, 6) of windows, from what the first layers made of them."""
    for kernel, bias in zip(finder.kernels[4:], finder.biases[4:], strict=True):
        rows = np.maximum(rows, 0) @ kernel.reshape(-1, kernel.shape[-1]) + bias
    return rows
