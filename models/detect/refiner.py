"""The refiner: a small network that moves a candidate onto its face.

The finder cannot tell at 24 pixels where a face ends: its candidates are often a third too small,
off centre, or rotated. The refiner sees more of the picture around each one, and predicts by how
much it is wrong: box regression, as in the second network of Zhang et al. 2016 (MTCNN),
https://arxiv.org/abs/1604.02878, here with the angle as well. It was trained on rendered faces
(`tests/benchmarks/train_face_refiner.py`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.detect.small_networks import Weights, run_on_crops

if TYPE_CHECKING:
    import keras

REFINED = 56  # pixels: the side of its input
AROUND = 1.75  # of the candidate's side is the side of what it sees
REFINER_LAYERS = ("edges", "parts", "corners", "whole", "sorted", "place")


def build_refiner() -> keras.Model:
    """The refiner as a Keras model, from crops after `normalize_contrast` (N, 56, 56, 1) to
    (N, 1, 1, 5).

    The five numbers: cosine and sine of the face's angle, its centre (x, y, from the candidate's,
    in sides of the candidate), and the logarithm of its side in sides of the candidate.
    """
    import keras
    from keras import layers

    convolution = partial(layers.Conv2D, activation="relu", kernel_initializer="he_normal")
    crop = keras.Input((REFINED, REFINED, 1), name="crop")
    x = convolution(24, 4, strides=2, name="edges")(crop)
    x = convolution(48, 3, strides=2, name="parts")(x)
    x = convolution(64, 3, strides=2, name="corners")(x)
    x = convolution(96, 3, name="whole")(x)
    x = convolution(128, 4, name="sorted")(x)
    return keras.Model(crop, layers.Conv2D(5, 1, name="place")(x), name="refiner")


def refine(refiner: Weights, crops: np.ndarray) -> np.ndarray:
    """The five numbers (N, 5) of crops, grey values (N, 72, 72): 56 pixels, and on each side 8 of
    context, which only count for the normalization of the contrast."""
    return run_on_crops(refiner, crops, (2, 2, 2, 1, 1))
