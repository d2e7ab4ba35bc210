"""Drawing faces on photos and frames: anti-aliased dots and rings in NumPy, no package needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from data.key_points import KEY_POINTS, SIZE, Names
from models.spread import REGION_90
from results.colours import rgb_of
from results.measures import UNSURE

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def draw_faces(
    canvas: np.ndarray,
    boxes: np.ndarray,
    key_points: np.ndarray,
    spread: np.ndarray,
    numbers: Sequence[int],
    names: Names = KEY_POINTS,
) -> None:
    """Draw faces on `canvas`, a uint8 (H, W, 3) picture, in place.

    Drawn are their boxes (N, 4), numbers, key points (N, K, 2) and 90 % regions, from `spread`
    (N, K) in pixels of the crop. Lines and dots scale with the face; colours, rings and hollow
    points have the same meaning as in the other pictures.
    """
    colours = [rgb_of(name) for name in names]
    for box, points, radii, number in zip(boxes, key_points, spread, numbers, strict=True):
        side = float(box[2])
        width, dot = max(1, round(side / 150)), max(side / 80, 0.7)
        draw_box(canvas, box, width)
        draw_number(canvas, number, box, max(9, round(side / 9)))
        for point, radius, colour in zip(points, radii.tolist(), colours, strict=True):
            if not np.isfinite(radius):  # never labelled in the model's training
                continue
            rings = [(REGION_90 * radius * side / SIZE, max(0.8, width / 2), colour)]
            if radius > UNSURE:
                rings += [(dot, width, colour)]
            else:
                rings += [(0.0, 3 * dot, BLACK), (0.0, 2 * dot, colour)]
            draw_rings(canvas, point, rings)


def draw_rings(
    canvas: np.ndarray,
    center: np.ndarray,
    rings: Sequence[tuple[float, float, Sequence[int]]],
) -> None:
    """Draw circles of these radii, line widths and colours around a point, in this order; radius 0
    gives a disc whose diameter is the line width."""
    reach = max(radius + width / 2 + 1 for radius, width, _ in rings)
    height, across = canvas.shape[:2]
    x0, x1 = max(int(center[0] - reach), 0), min(int(center[0] + reach) + 2, across)
    y0, y1 = max(int(center[1] - reach), 0), min(int(center[1] + reach) + 2, height)
    if x0 >= x1 or y0 >= y1:
        return
    distance = np.hypot(
        np.arange(x0, x1, dtype=np.float32)[None] - np.float32(center[0]),
        np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(center[1]),
    )
    for radius, width, colour in rings:
        # The share of each pixel that the line covers: anti-aliasing.
        cover = width / 2 + 0.5 - np.abs(distance - np.float32(radius))
        blend(canvas[y0:y1, x0:x1], np.minimum(np.maximum(cover, 0), 1), colour)


def draw_box(canvas: np.ndarray, box: np.ndarray, width: int) -> None:
    """Draw the outline of a box, x y w h, in white."""
    height, across = canvas.shape[:2]
    x0, y0 = (round(v) for v in box[:2].tolist())
    x1, y1 = (round(v) for v in (box[:2] + box[2:]).tolist())
    columns = slice(max(x0, 0), max(min(x1, across), 0))
    rows = slice(max(y0, 0), max(min(y1, height), 0))
    for edge in (x0, x1 - width):
        canvas[rows, max(edge, 0) : max(edge + width, 0)] = WHITE
    for edge in (y0, y1 - width):
        canvas[max(edge, 0) : max(edge + width, 0), columns] = WHITE


def draw_number(canvas: np.ndarray, number: int, box: np.ndarray, size: int) -> None:
    """Draw a face's number above the upper left corner of its box, white with a black outline."""
    outline, body = number_mask(str(number), size)
    height, width = outline.shape
    x = int(np.clip(round(float(box[0])), 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(round(float(box[1])) - height, 0, max(canvas.shape[0] - height, 0)))
    part = canvas[y : y + height, x : x + width]
    for cover, colour in ((outline, BLACK), (body, WHITE)):
        blend(part, cover[: part.shape[0], : part.shape[1]], colour)


@lru_cache(maxsize=64)
def number_mask(text: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of each pixel that a text of that height covers: with its outline, without it."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    outline = max(1, size // 10)
    x0, y0, x1, y1 = (round(v) for v in font.getbbox(text, stroke_width=outline))
    masks = []
    for stroke in (outline, 0):
        mask = Image.new("L", (x1 - x0, y1 - y0))
        pen = ImageDraw.Draw(mask)
        pen.text((-x0, -y0), text, fill=255, font=font, stroke_width=stroke)
        masks.append(np.asarray(mask, np.float32) / 255)
    return masks[0], masks[1]


def blend(part: np.ndarray, cover: np.ndarray, colour: Sequence[int]) -> None:
    """Blend a colour into part of a canvas (h, w, 3), with `cover` (h, w) 0 .. 1 as its opacity."""
    weight = cover[..., None]
    part[:] = part + (np.array(colour, np.float32) - part) * weight + 0.5
