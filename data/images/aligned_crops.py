"""Aligned colour crops of faces, as face-recognition networks expect them."""

from __future__ import annotations

import numpy as np

from data.images.crops import left_is_viewers
from data.key_points import Names, mirror_partners
from data.system.files import InputError

# Where such networks have five points of a face, in pixels of a 112x112 crop: the template on
# which ArcFace (Deng et al. 2019, https://arxiv.org/abs/1801.07698) and most later ones were
# trained. From its authors' code: `arcface_dst` in insightface/utils/face_align.py of
# https://github.com/deepinsight/insightface. There left is the picture's left.
TEMPLATE = {
    "right_eye_center": (38.2946, 51.6963),
    "left_eye_center": (73.5318, 51.5014),
    "nose_tip": (56.0252, 71.7366),
    "mouth_right_corner": (41.5493, 92.3655),
    "mouth_left_corner": (70.7299, 92.2041),
}
TEMPLATE_SIZE = 112
WIDE_SIZE = 128  # its multiples show more: 8 pixels more on each side, and 16 more below

# The columns of a crop's affine, row by row: it maps (x, y, 1) in the crop to the photo, both
# counted from the center of the first pixel.
MATRIX_COLUMNS = [f"matrix_{row}{column}" for row in (1, 2) for column in (1, 2, 3)]


def check_names(names: Names) -> None:
    """Raise InputError if the key points `names` lack one that the template has."""
    missing = [name for name in TEMPLATE if name not in names]
    if missing:
        raise InputError(
            f"--crops aligns faces by their eye centers, nose tip and mouth corners; this model"
            f" does not find {missing[0]}: choose another one by --model."
        )


def template_points(names: Names, mean_face: np.ndarray | None = None) -> list[int]:
    """The index among the key points `names` of each point of the template, (5,).

    `mean_face` as from `mean_face_of`: where it shows that left is the viewer's, sides swap.
    """
    wanted = list(TEMPLATE)
    partners = mirror_partners(tuple(wanted))
    if partners is not None and left_is_viewers(names, mean_face):
        wanted = [wanted[k] for k in partners]
    return [names.index(name) for name in wanted]


def template_for(size: int) -> np.ndarray:
    """The template's points (5, 2) in a crop of `size` pixels a side.

    As in insightface (`estimate_norm` in utils/face_align.py): multiples of 112 have the template
    scaled by size / 112; multiples of 128 (and not of 112) have it scaled by size / 128 and shifted
    right by size / 16. insightface takes no other size; here they have it scaled by size / 112.
    """
    points = np.array(list(TEMPLATE.values()))
    if size % TEMPLATE_SIZE and size % WIDE_SIZE == 0:
        ratio = size / WIDE_SIZE
        return points * ratio + [8 * ratio, 0]
    return (points + 0.5) * (size / TEMPLATE_SIZE) - 0.5


def aligned_affines(
    points: np.ndarray,
    names: Names,
    size: int = TEMPLATE_SIZE,
    mean_face: np.ndarray | None = None,
) -> np.ndarray:
    """Affines (N, 2, 3) of the aligned crops of faces, from the crop's pixels to the photo's.

    Args:
        points: (N, K, 2) in photo pixels.
        names: of the K key points.
        size: side of the crops in pixels; see `template_for`.
        mean_face: as from `mean_face_of`.

    As in those networks' trainings, the similarity transform that brings a face's five points
    nearest to the template's (least squares in the crop) says how it is cropped; returned is the
    inverse.
    """
    target = template_for(size) @ (1, 1j)
    found = points[:, template_points(names, mean_face)] @ (1, 1j)
    center, target_center = found.mean(1, keepdims=True), target.mean()
    offsets = found - center
    factor = (offsets.conj() * (target - target_center)).sum(1) / (np.abs(offsets) ** 2).sum(1)
    back = 1 / factor
    shift = center[:, 0] - back * target_center
    matrix = [back.real, -back.imag, shift.real, back.imag, back.real, shift.imag]
    return np.stack(matrix, -1).reshape(-1, 2, 3)


def matrix_fields(affines: np.ndarray) -> list[list[str]]:
    """Affines (N, 2, 3) as the fields of `MATRIX_COLUMNS`: exact to a thousandth of a pixel."""
    return [[f"{value:.7f}" for value in affine.ravel()] for affine in affines]


def cut_aligned(picture: np.ndarray, affine: np.ndarray, size: int = TEMPLATE_SIZE) -> np.ndarray:
    """The crop (size, size, 3), uint8, of a photo (H, W, 3), uint8; black outside the photo.

    Each pixel is the mean of as many samples as it covers photo pixels.
    """
    from PIL import Image

    fine = int(np.clip(np.ceil(np.sqrt(np.linalg.det(affine[:, :2]))), 1, 64))
    (a, b, c), (d, e, f) = affine.tolist()
    # Pillow counts from the outer edge of the first pixel.
    c, f = c + 0.5 - (a + b) / 2, f + 0.5 - (d + e) / 2
    samples = Image.fromarray(picture).transform(
        (size * fine, size * fine),
        Image.Transform.AFFINE,
        (a / fine, b / fine, c, d / fine, e / fine, f),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(samples.reduce(fine))
