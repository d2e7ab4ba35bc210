"""The checker: a small network that looks closer at what the finder proposes.

Most of the finder's candidates are no faces, and at 24 pixels it cannot know. The checker sees each
at 48 pixels, upright. It takes a small part of the key point network's time, so
that this one looks at fewer things that are no face: a cascade as in Viola and Jones 2001,
https://doi.org/10.1109/CVPR.2001.990517, and Zhang et al. 2016 (MTCNN),
https://arxiv.org/abs/1604.02878. Trained by `tests/benchmarks/train_face_checker.py` as
`models/face_checker.keras`; it runs in NumPy, by the same weights in `models/face_checker.npz`.
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

CHECKED = 48  # pixels: the side of what it looks at, and of a face, cropped as trained, in it
LAYERS = ("edges", "parts", "corners", "whole", "sorted", "face")


def build_checker() -> keras.Model:
    """The checker as a Keras model: crops of `normalize_contrast` (N, 48, 48, 1) to
    (N, 1, 1, 1), the logit of showing a face that is upright, to 45 degrees."""
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
def load_checker() -> Weights:
    """The shipped checker. Raises InputError if its file is missing or something else."""
    return load_weights(LAYERS, HERE / "models" / "face_checker.npz")


def check(checker: Weights, crops: np.ndarray) -> np.ndarray:
    """The logits (N,) of showing an upright face, of crops (N, 64, 64): grey values with what
    decides how their light is made level, 8 pixels all round."""
    if not len(crops):
        return np.empty(0, np.float32)
    kernels, biases = checker
    x = normalize_contrast(crops)[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT, None]
    x = convolve_all(x, checker, (2, 2, 2, 1, 1))
    return x.reshape(len(x), -1) @ kernels[-1].ravel() + biases[-1]
