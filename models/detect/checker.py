"""The checker: a small network that accepts or rejects the finder's candidates.

Most of the finder's candidates are not faces, which it cannot tell at 24 pixels. The checker sees
each one upright at 48 pixels. It takes a small part of the key point network's time and saves it
most of the non-faces: a cascade, as in Viola and Jones 2001,
https://doi.org/10.1109/CVPR.2001.990517, and Zhang et al. 2016 (MTCNN),
https://arxiv.org/abs/1604.02878. It was trained on rendered faces
(`tests/benchmarks/train_face_checker.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.detect.small_networks import Weights, build_for_crops, run_on_crops

if TYPE_CHECKING:
    import keras

CHECKED = 48  # pixels: the side of its input, and of a face, cropped as trained, in it
CHECKER_LAYERS = ("edges", "parts", "corners", "whole", "sorted", "face")


def build_checker() -> keras.Model:
    """The checker as a Keras model, from crops after `normalize_contrast` (N, 48, 48, 1) to
    (N, 1, 1, 1), the logit of an upright face (within 45 degrees)."""
    return build_for_crops(CHECKED, (48, 3), "face", 1, "checker")


def check(checker: Weights, crops: np.ndarray) -> np.ndarray:
    """The logits (N,) that crops show an upright face.

    `crops` are grey values (N, 64, 64): 48 pixels, and on each side 8 of context, which only
    counts for the normalization of the contrast.
    """
    return run_on_crops(checker, crops)[:, 0]
