"""The refiner: a small network that moves a candidate onto its face.

The finder cannot tell at 24 pixels where a face ends: its candidates are often a third too small,
off centre, or rotated. The refiner sees more of the picture around each one, and predicts by how
much it is wrong: box regression, as in the second network of Zhang et al. 2016 (MTCNN),
https://arxiv.org/abs/1604.02878, here with the angle as well. It was trained on rendered faces
(`tests/benchmarks/train_face_refiner.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.detect.small_networks import Weights, build_for_crops, run_on_crops

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
    return build_for_crops(REFINED, (128, 4), "place", 5, "refiner")


def refine(refiner: Weights, crops: np.ndarray) -> np.ndarray:
    """The five numbers (N, 5) of crops, grey values (N, 72, 72): 56 pixels, and on each side 8 of
    context, which only count for the normalization of the contrast."""
    return run_on_crops(refiner, crops)
