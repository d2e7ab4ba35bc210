"""The checker: a small network that accepts or rejects the finder's candidates.

Most of the finder's candidates are not faces, which it cannot tell at 24 pixels. The checker sees
each one upright at 48 pixels. It takes a small part of the key point network's time and saves it
most of the non-faces: a cascade, as in Viola and Jones 2001,
https://doi.org/10.1109/CVPR.2001.990517, and Zhang et al. 2016 (MTCNN),
https://arxiv.org/abs/1604.02878. Two sets of weights are shipped: `models/face_checker`,
trained on research faces, and `models/free_checker`, trained on rendered ones
(`tests/benchmarks/train_face_checker.py`); each as `.keras` and, with the same weights, as `.npz`,
which the NumPy code uses.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from data.system.files import HERE
from models.detect.small_networks import (
    CONTEXT,
    Weights,
    convolve_all,
    load_weights,
    normalize_contrast,
)

if TYPE_CHECKING:
    import keras

CHECKED = 48  # pixels: the side of its input, and of a face, cropped as trained, in it
CHECKER_LAYERS = ("edges", "parts", "corners", "whole", "sorted", "face")


def build_checker() -> keras.Model:
    """The checker as a Keras model, from crops after `normalize_contrast` (N, 48, 48, 1) to
    (N, 1, 1, 1), the logit of an upright face (within 45 degrees)."""
    import keras
    from keras import layers

    convolution = partial(layers.Conv2D, activation="relu", kernel_initializer="he_normal")
    crop = keras.Input((CHECKED, CHECKED, 1), name="crop")
    x = convolution(24, 4, strides=2, name="edges")(crop)
    x = convolution(48, 3, strides=2, name="parts")(x)
    x = convolution(64, 3, strides=2, name="corners")(x)
    x = convolution(96, 3, name="whole")(x)
    x = convolution(48, 3, name="sorted")(x)
    return keras.Model(crop, layers.Conv2D(1, 1, name="face")(x), name="checker")


@cache
def load_checker(free: bool = False) -> Weights:
    """The shipped checker, or the `free` one; see `finder.load_finder`."""
    name = f"{'free' if free else 'face'}_checker.npz"
    return load_weights(CHECKER_LAYERS, HERE / "models" / name)


def check(checker: Weights, crops: np.ndarray) -> np.ndarray:
    """The logits (N,) that crops show an upright face.

    `crops` are grey values (N, 64, 64): 48 pixels, and on each side 8 of context, which only
    counts for the normalization of the contrast.
    """
    if not len(crops):
        return np.empty(0, np.float32)
    kernels, biases = checker
    x = normalize_contrast(crops)[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT, None]
    x = convolve_all(x, checker, (2, 2, 2, 1, 1))
    return x.reshape(len(x), -1) @ kernels[-1].ravel() + biases[-1]
