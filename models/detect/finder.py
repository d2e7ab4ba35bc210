"""The face finder: a small fully convolutional network that scores every window of a picture.

For each window of 24x24 pixels it predicts whether it shows a face, and where in it, how large and
at which angle. Its first layers reject most windows; only the others go through the last layers.
That is why it runs in NumPy (`models/detect/small_networks.py`): Keras would run all layers on all
windows. It was trained on rendered faces (`tests/benchmarks/train_face_finder.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.detect.small_networks import Weights, convolve_all

if TYPE_CHECKING:
    import keras

WINDOW = 24  # pixels: the side of a window, and of a face, cropped as trained, that fills it
STRIDES = (2, 2, 1)  # of the first layers
STRIDE = 4  # pixels from one window to the next
FINDER_LAYERS = ("edges", "parts", "corners", "likely", "whole", "sorted", "face")


def build_finder() -> keras.Model:
    """The finder as a Keras model, from pictures after `normalize_contrast` (N, H, W, 1) to windows
    (N, h, w, 7).

    The seven numbers of a window: two logits that it shows a face, of the first layers and of all;
    the cosine and the sine of the face's angle; the face's center (x, y, from the window's center,
    in sides of the window); and the logarithm of its side in sides of the window.
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


def scan(finder: Weights, picture: np.ndarray, early_logit: float) -> tuple[np.ndarray, np.ndarray]:
    """Score the windows of a picture (H, W) after `normalize_contrast`.

    Returns the positions (M, 2), x and y of the upper left pixel, and the seven numbers (M, 7) of
    `build_finder`, of the windows whose first logit is above `early_logit`.
    """
    kernels, biases = finder
    if min(picture.shape) < WINDOW:
        return np.empty((0, 2), int), np.empty((0, 7), np.float32)
    x = convolve_all(picture[None, ..., None], finder, STRIDES)[0]
    height, width = x.shape[0] - 2, x.shape[1] - 2
    # The sum over each 3x3 neighbourhood, from the nine products of each position.
    products = x @ kernels[3][..., 0].reshape(9, -1).T
    first = (
        sum(products[i // 3 : i // 3 + height, i % 3 : i % 3 + width, i] for i in range(9))
        + biases[3]
    )
    y, across = np.nonzero(first > early_logit)
    windows = sliding_window_view(x, (3, 3), (0, 1))  # type: ignore[call-overload]  # NumPy 2.2
    rows = windows[y, across].transpose(0, 2, 3, 1).reshape(len(y), 9 * x.shape[2])
    values = np.column_stack([first[y, across], _last_layers(finder, rows)])
    return STRIDE * np.stack([across, y], -1), values


def score_windows(finder: Weights, windows: np.ndarray) -> np.ndarray:
    """The seven numbers (N, 7) of single windows (N, 24, 24) after `normalize_contrast`."""
    kernels, biases = finder
    rows = convolve_all(windows[..., None], finder, STRIDES).reshape(len(windows), -1)
    first = rows @ kernels[3].reshape(-1, 1) + biases[3]
    return np.column_stack([first, _last_layers(finder, rows)])


def _last_layers(finder: Weights, rows: np.ndarray) -> np.ndarray:
    """The last six numbers (M, 6) of windows, from the output of the first layers."""
    for kernel, bias in zip(finder.kernels[4:], finder.biases[4:], strict=True):
        rows = np.maximum(rows, 0) @ kernel.reshape(-1, kernel.shape[-1]) + bias
    return rows
