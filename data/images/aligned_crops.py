"""Level colour crops of faces, laid as face-recognition networks expect them."""

from __future__ import annotations

import numpy as np

from data.key_points import Names, mirror_partners
from data.system.files import InputError

# Where such networks have five points of a face, in pixels of a 112x112 picture: the template by
# which ArcFace (Deng et al. 2019, https://arxiv.org/abs/1801.07698) and most after it were trained,
# as in its authors' code: `arcface_dst` in insightface/utils/face_align.py of
# https://github.com/deepinsight/insightface. There left is the picture's left.
TEMPLATE = {
    "right_eye_center": (38.2946, 51.6963),
    "left_eye_center": (73.5318, 51.5014),
    "nose_tip": (56.0252, 71.7366),
    "mouth_right_corner": (41.5493, 92.3655),
    "mouth_left_corner": (70.7299, 92.2041),
}
TEMPLATE_SIZE = 112

# A crop's matrix in a table, row by row: it takes a place (x, y, 1) in the crop to one in the
# photo, both counted from the centre of the first pixel.
MATRIX_COLUMNS = [f"matrix_{row}{column}" for row in (1, 2) for column in (1, 2, 3)]


def check_names(names: Names) -> None:
    """Raise InputError if the key points `names` lack one that the crops are laid by."""
    missing = [name for name in TEMPLATE if name not in names]
    if missing:
        raise InputError(
            f"--crops lays faces by their eye centres, nose tip and mouth corners; this model has"
            f" no {missing[0]}: give another --model."
        )


def template_points(names: Names, face: np.ndarray | None = None) -> list[int]:
    """Which of the key points `names` go to the template's places, (5,).

    `face` as from `mean_face_of`: where it says that the names' left is the viewer's, sides change.
    """
    wanted = list(TEMPLATE)
    left, right = (names.index(f"{side}_eye_center") for side in ("left", "right"))
    partners = mirror_partners(tuple(wanted))
    if partners is not None and face is not None and face[left, 0] < face[right, 0]:
        wanted = [wanted[k] for k in partners]
    return [names.index(name) for name in wanted]


def aligned_crops(
    points: np.ndarray, names: Names, size: int = TEMPLATE_SIZE, face: np.ndarray | None = None
) -> np.ndarray:
    """Crops (N, 2, 3) of `size` pixels a side in which faces lie as the template has them.

    `points` (N, K, 2) are the faces' in photo pixels, `names` theirs, and `face` as from
    `mean_face_of`. The similarity that brings
    the five points nearest to the template's (least squares in the crop, as in those networks'
    trainings) is given the other way round: from the crop to the photo.
    """
    places = (np.array(list(TEMPLATE.values())) + 0.5) * (size / TEMPLATE_SIZE) - 0.5
    target = places @ (1, 1j)
    found = points[:, template_points(names, face)] @ (1, 1j)
    middle, target_middle = found.mean(1, keepdims=True), target.mean()
    arms = found - middle
    turn = (arms.conj() * (target - target_middle)).sum(1) / (np.abs(arms) ** 2).sum(1)
    back = 1 / turn
    offset = middle[:, 0] - back * target_middle
    matrix = [back.real, -back.imag, offset.real, back.imag, back.real, offset.imag]
    return np.stack(matrix, -1).reshape(-1, 2, 3)


def matrix_fields(crops: np.ndarray) -> list[list[str]]:
    """The crops (N, 2, 3) as the fields of `MATRIX_COLUMNS`: exact to a thousandth of a pixel."""
    return [[f"{value:.7f}" for value in crop.ravel()] for crop in crops]


def cut_aligned(picture: np.ndarray, crop: np.ndarray, size: int = TEMPLATE_SIZE) -> np.ndarray:
    """The crop (size, size, 3), uint8, of a photo (H, W, 3), uint8; black outside of the photo.

    Each pixel is the mean of as many samples as it covers photo pixels.
    """
    from PIL import Image

    fine = int(np.clip(np.ceil(np.sqrt(np.linalg.det(crop[:, :2]))), 1, 64))
    (a, b, c), (d, e, f) = crop.tolist()
    # Pillow counts places from the outer edge of the first pixel.
    c, f = c + 0.5 - (a + b) / 2, f + 0.5 - (d + e) / 2
    samples = Image.fromarray(picture).transform(
        (size * fine, size * fine),
        Image.Transform.AFFINE,
        (a / fine, b / fine, c, d / fine, e / fine, f),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(samples.reduce(fine))
