"""Ever smaller copies of a photo, and crops cut from them by the hundred."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data.images.crops import affine_scales

STEP = 2**0.5  # from one copy's size to the next
AT_ONCE = 65536  # pixels that are cut at once: they fit the cache


class Copy(NamedTuple):
    """A photo, or a smaller copy of it."""

    grey: np.ndarray  # uint8 (h, w)
    step: np.ndarray  # (2,): how many photo pixels one of its pixels covers, along x and y
    larger: bool  # than was asked for: for what is cut from it


def make_copies(grey: np.ndarray, width: int, pixels: float, smallest: float) -> list[Copy]:
    """Copies of a photo's grey values (H, W) uint8, the largest first, by area averaging.

    The first is `width` pixels wide, or as the photo is where that is less, or as large as `pixels`
    allow; each further one is smaller by `STEP`, until both sides would be below `smallest`. Where
    the photo is larger than the first, it comes before, then a half of it, a quarter and so on.
    """
    from PIL import Image

    height, across = grey.shape
    first = min(1.0, width / across, (pixels / grey.size) ** 0.5)
    halves = [0.5**i for i in range(16) if 0.5**i > first]
    copies: list[Copy] = []
    photo = Image.fromarray(grey)
    for zoom in halves + [first / STEP**i for i in range(64)]:
        size = [max(1, round(side * zoom)) for side in (across, height)]
        if copies and max(size) < smallest:
            break
        if list(photo.size) != size:
            # From the copy before; halving is quicker.
            photo = photo.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
        copies.append(Copy(np.asarray(photo), np.array([across, height]) / size, zoom > first))
    return copies


def cut_crops(copies: list[Copy], crops: np.ndarray, size: int) -> np.ndarray:
    """Crops (N, 2, 3) of a photo, matrices from their pixels to the photo's: float32 (N, size,
    size).

    Each is cut from the copy whose pixels are just smaller than its own, or from the largest. The
    border is continued.
    """
    pictures = np.empty((len(crops), size, size), np.float32)
    steps = np.array([copy.step.mean() for copy in copies])
    best = np.maximum(np.searchsorted(steps, affine_scales(crops) * (1 + 1e-6)) - 1, 0)
    count = max(1, AT_ONCE // size**2)
    for i in np.unique(best):
        grey, step, _ = copies[i]
        here = np.flatnonzero(best == i)
        ways = crops[here] / step[:, None]
        ways[:, :, 2] += 0.5 / step - 0.5
        for first in range(0, len(here), count):
            part = np.s_[first : first + count]
            pictures[here[part]] = _sample(grey, ways[part], size)
    return pictures


def _sample(grey: np.ndarray, ways: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples (N, size, size) of a picture (h, w) at where `ways` (N, 2, 3) lead to."""
    if min(grey.shape) < 2:
        grey = np.pad(grey, [(0, int(side < 2)) for side in grey.shape], "edge")
    height, width = grey.shape
    across = np.arange(size, dtype=np.float32)
    ways = ways.astype(np.float32)[..., None, None]
    x = ways[:, 0, 0] * across + ways[:, 0, 1] * across[:, None] + ways[:, 0, 2]
    y = ways[:, 1, 0] * across + ways[:, 1, 1] * across[:, None] + ways[:, 1, 2]
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    left, top = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    x -= left
    y -= top
    first = top * width + left
    flat = grey.ravel()
    upper, right, lower, last = (
        flat.take(first + more).astype(np.float32) for more in (0, 1, width, width + 1)
    )
    upper += x * (right - upper)
    lower += x * (last - lower)
    return upper + y * (lower - upper)
