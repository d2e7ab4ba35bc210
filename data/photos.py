"""Photos: reading them as they are meant to be seen, cropping faces, and the way back.

A face in a photo is cropped to 96x96 as the training's faces are, predicted, cropped again round
the points found, and predicted once more; a crop is the 2x3 matrix of its pixels' places.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.files import InputError, one_line, record_path
from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE, SIZE, Names

if TYPE_CHECKING:
    from PIL import Image

# Endings of files in a folder that ought to be pictures, so that one that is not gets told.
APPLE_ENDINGS = (".heic", ".heif")
PHOTO_ENDINGS = (
    *APPLE_ENDINGS,
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
)


def list_photos(paths: Iterable[Path]) -> list[Path]:
    """The photos to look at: `paths`, and in place of a folder the files in it, by name.

    Raises InputError if a path does not exist or a folder has no pictures.
    """
    photos = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path of the photo.")
        files = [path]
        if path.is_dir():
            inside = sorted(f for f in path.iterdir() if f.is_file() and f.name[0] != ".")
            files = [f for f in inside if is_picture(f)]
            for file in inside:
                if file not in files:
                    print(f"{file} is not a picture: skipped.")
            if not files:
                raise InputError(f"{path} is a folder without pictures; give one with photos.")
        photos += files
    return list({photo.resolve(): photo for photo in photos}.values())


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, or at least is called one."""
    from PIL import Image

    if path.suffix.lower() in PHOTO_ENDINGS:
        return True
    try:
        with Image.open(path):
            return True
    except Exception:  # Pillow raises whatever a broken file brings
        return False


def read_photo(path: Path | str) -> Image.Image:
    """A photo as it is meant to be seen: a PIL RGB picture, upright, on white where transparent.

    Raises InputError if it is not a whole picture, or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                photo = ImageOps.exif_transpose(file)
                if photo.mode[0] in "IF":  # 16 bits, which Pillow would cut off at 255
                    values = np.asarray(photo, np.float32)
                    values = values / np.float32(257 if values.max() > 255 else 1)
                    photo = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
                if "A" in photo.getbands() or "transparency" in photo.info:
                    photo = photo.convert("RGBA")
                    photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
                return photo.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(
            f"{path} has more than {limit} million pixels; shrink the photo first."
        ) from None
    except UnidentifiedImageError:
        if Path(path).suffix.lower() in APPLE_ENDINGS:
            raise InputError(
                f"{path} is a HEIC photo, which Pillow does not read; save it as a JPEG. (An iPhone"
                " takes JPEGs from Settings, Camera, Formats, Most Compatible on.)"
            ) from None
        raise InputError(
            f"{path} is empty or not a picture that can be read; save it as a JPEG or PNG."
        ) from None
    except Exception as error:  # Pillow raises whatever a broken file brings
        raise InputError(
            f"{path} cannot be read as a picture ({one_line(error)}); it may be cut short: copy it"
            " again."
        ) from None


def square_crops(boxes: np.ndarray) -> np.ndarray:
    """Crops (N, 2, 3) of the squares with the centres and areas of `boxes` (N, 4): x y w h, pixels.

    A crop maps a place in the 96x96 crop to one in the photo, both counted from the centre of the
    first pixel; a box is counted from its outer edge, so that 0 0 w h is all of a w x h photo.
    """
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T
    scale = np.sqrt(w * h) / SIZE
    middle = np.stack([x + (w - 1) / 2, y + (h - 1) / 2], -1)
    return similarities(scale, 0 * scale, (SIZE - 1) / 2, middle)


# What "as the training's faces are" means, measured on Kaggle's 2,140 complete faces: the mean of
# the 15 points is at (47.9, 47.3), +-1.2 and +-2.1 px; they are 26.5 px from it (root mean square,
# +-7 %); the eyes are level, +-4 degrees. So the second crop follows from the points of the first
# and hardly depends on the detector's box any more. For other key points than Kaggle's the mean
# face of their training says it.
CENTRE, RADIUS = np.array([47.9, 47.3]), 26.5


def crop_face(record: dict[str, Any], names: Names, model_path: Path) -> np.ndarray | None:
    """The mean face of the training, (K, 2) pixels of its crops; None for Kaggle's key points.

    Raises InputError if the model's record has none that crops can be laid by.
    """
    if names == KEY_POINTS:
        return None
    try:
        face = np.array(record["mean_face"], np.float64).reshape(len(names), 2)
    except (KeyError, TypeError, ValueError):
        face = np.full((len(names), 2), np.nan)
    if len(np.unique(face[np.isfinite(face).all(1)], axis=0)) < 2:
        raise InputError(
            f"{record_path(model_path)} has no mean face of two points or more, by which"
            " --image crops photos; copy the one that was written with the model, or train again."
        )
    return face


def point_crops(points: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
    """Upright crops as trained (N, 2, 3) round predicted points (N, K, 2), in photo pixels.

    `face` as from `crop_face`; the crops are those in which it lies best (least squares) on the
    points.
    """
    if face is not None:
        known = np.isfinite(face).all(1)
        anchor, middle = face[known].mean(0), points[:, known].mean(1)
        mean_face = (face[known] - anchor) @ (1, 1j)
        found = (points[:, known] - middle[:, None]) @ (1, 1j)
        turn = found @ mean_face.conj() / (np.abs(mean_face) ** 2).sum()
        return similarities(np.abs(turn), np.angle(turn), anchor, middle)
    middle = points.mean(1)
    radius = np.sqrt(((points - middle[:, None]) ** 2).sum(-1).mean(1))
    across = points[:, LEFT_EYE] - points[:, RIGHT_EYE]
    angle = np.arctan2(across[:, 1], across[:, 0])
    return similarities(radius / RADIUS, angle, CENTRE, middle)


def similarities(
    scale: np.ndarray, angle: np.ndarray, anchor: Any, places: np.ndarray
) -> np.ndarray:
    """Matrices (N, 2, 3) that scale and turn by (N,) and take `anchor` (2,) to `places` (N, 2)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    offset = places - linear @ np.broadcast_to(anchor, 2)
    return np.concatenate([linear, offset[..., None]], -1)


def move_points(points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Points (N, K, 2) of crops (N, 2, 3) as places in the photo."""
    return points @ crops[:, :, :2].transpose(0, 2, 1) + crops[:, None, :, 2]


def crop_scales(crops: np.ndarray) -> np.ndarray:
    """How many photo pixels wide a pixel of each crop (N, 2, 3) is, (N,)."""
    return np.sqrt(np.linalg.det(crops[:, :, :2]))


def crop_boxes(crops: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), x y w h in pixels, of crops: `square_crops` the other way round."""
    side = SIZE * crop_scales(crops)
    middle = move_points(np.full((len(crops), 1, 2), (SIZE - 1) / 2), crops)[:, 0]
    return np.column_stack([middle - (side[:, None] - 1) / 2, side, side])


def cut_crop(grey: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """The 96x96 crop, float32, of a photo's grey values (H, W) uint8; the border is continued.

    Each pixel is the mean of as many samples as it covers photo pixels: large faces are shrunk by
    area averaging. Very large ones are halved (and so on) first, which is quicker.
    """
    from PIL import Image

    linear, origin = crop[:, :2], crop[:, 2]
    scale = float(np.sqrt(np.linalg.det(linear)))
    coarse = max(1, int(scale / 4))
    fine = max(1, int(np.ceil(scale / coarse)))
    # Places are counted from pixels' edges from here on, as Pillow counts them.
    origin = origin + 0.5 - linear.sum(1) / 2
    corners = origin + np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * SIZE @ linear.T
    first = np.floor(corners.min(0)).astype(int) - 2 * coarse
    last = np.ceil(corners.max(0)).astype(int) + 2 * coarse
    limit = np.array(grey.shape[::-1])
    x0, y0 = start = np.clip(first, 0, limit - 1)
    x1, y1 = stop = np.clip(last, start + 1, limit)
    part = Image.fromarray(np.ascontiguousarray(grey[y0:y1, x0:x1])).reduce(coarse)
    before, after = -(-np.stack([start - first, last - stop]) // coarse)
    padding = [(int(before[axis]), int(after[axis])) for axis in (1, 0)]
    # As floats: of whole numbers Pillow would cut off the fractions of the means.
    part = Image.fromarray(np.pad(np.asarray(part, np.float32), padding, "edge"))
    origin = (origin - start) / coarse + before
    matrix = np.column_stack([linear / (fine * coarse), origin]).ravel().tolist()
    samples = part.transform(
        (SIZE * fine, SIZE * fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(samples).reshape(SIZE, fine, SIZE, fine).mean((1, 3), dtype=np.float32)
