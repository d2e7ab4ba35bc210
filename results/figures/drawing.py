"""Drawing faces on photos and frames: anti-aliased dots and rings in NumPy, no package needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from data.images.crops import affine_scales, transform_points
from data.key_points import KEY_POINTS, SIZE
from models.detect.search import Detections
from models.spread import REGION_90
from results.figures.colours import rgb, styles_of
from results.figures.fonts import file_of, files_for
from results.figures.profiles import hidden_points
from results.measures import UNSURE

BLACK, WHITE = (0, 0, 0), (255, 255, 255)

AXIS = 6.0  # length of a head's axes in centimetres of the mean head: to the face's outline
AXIS_COLOURS = (235, 50, 40), (40, 190, 60), (50, 100, 255)  # x, y, z are red, green, blue

# In photo pixels of a face's side. Smaller faces have points so close that rings cover the eyes,
# and that black outlines leave nothing of them.
RINGS_FROM, OUTLINES_FROM = 110, 75

CHIN = 0.15  # of the crop's side: how much farther down than the crop, which cuts chins, a box goes


def draw_faces(
    canvas: np.ndarray, faces: Detections, numbers: Sequence[int], axes: bool = False
) -> None:
    """Draw faces on `canvas`, a uint8 (H, W, 3) picture, in place.

    Drawn are boxes down to the chin, numbers, key points and 90 % regions. Lines and dots scale
    with the face. Colours, rings and hollow points have the same meaning as in the other pictures;
    points that a profile hides, or that the model never finds, are left out.
    """
    colours = [rgb(colour) for colour, *_ in styles_of(faces.names)]
    doubtful, hidden = hidden_points(faces.points, faces.names)
    unsure = (faces.spread > UNSURE) | doubtful
    drawn = np.isfinite(faces.spread) & ~hidden
    boxes = boxes_to_chins(faces.affines)
    for i, side in enumerate(faces.boxes[:, 2].tolist()):
        draw_box(canvas, boxes[i], max(1, round(side / 150)))
        dot = max(side / 50, 1.8)
        width = max(0.8, side / 300)
        for k in np.flatnonzero(drawn[i]):
            rings = []
            if side >= RINGS_FROM and not doubtful[i, k]:
                radius = REGION_90 * float(faces.spread[i, k]) * side / SIZE
                rings.append((radius, width, colours[k]))
            if unsure[i, k]:
                rings.append((0.6 * dot, max(0.8, dot / 3), colours[k]))
            elif side >= OUTLINES_FROM:
                rings += [(0.0, 1.6 * dot, BLACK), (0.0, dot, colours[k])]
            else:
                rings.append((0.0, dot, colours[k]))
            draw_rings(canvas, faces.points[i, k], rings)
    for box, side, number in zip(boxes, faces.boxes[:, 2].tolist(), numbers, strict=True):
        # Readable where the whole picture is shown on a screen, but not as large as the face.
        size = min(max(side / 9, max(canvas.shape) / 80), 0.35 * side)
        draw_number(canvas, number, box, max(9, round(size)))
    if axes:
        draw_axes(canvas, faces)


def draw_axes(canvas: np.ndarray, faces: Detections) -> None:
    """Draw how the heads are turned: from the middle of each face, lines to the subject's left, up
    and out of the face, in red, green and blue. What points away from the viewer is drawn first."""
    poses = faces.head_poses
    if poses is None:
        return
    ends = poses.rotation * (AXIS * poses.scale)[:, None, None]
    for start, end, side in zip(poses.position, ends, faces.boxes[:, 2].tolist(), strict=True):
        width = max(1.5, side / 60)
        for k in np.argsort(end[2]):
            line = start, start + end[:2, k] * [1, -1]
            if side >= OUTLINES_FROM:
                draw_line(canvas, *line, 1.6 * width, BLACK)
            draw_line(canvas, *line, width, AXIS_COLOURS[k])


def boxes_to_chins(affines: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), x y w h in photo pixels, from the crops' (N, 2, 3) upper edge to the chin.

    Of a rotated face: the box around the ellipse that has these sides when it is upright.
    """
    across, down = SIZE / 2, SIZE * (1 + CHIN) / 2
    centers = np.full((len(affines), 1, 2), ((SIZE - 1) / 2, down - 0.5))
    centers = transform_points(centers, affines)[:, 0]
    rotation = affines[:, :, :2] / affine_scales(affines)[:, None, None]
    halves = np.sqrt(((rotation * [across, down]) ** 2).sum(-1))
    halves = halves * affine_scales(affines)[:, None]
    return np.column_stack([centers - halves + 0.5, 2 * halves])


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


def draw_line(
    canvas: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    width: float,
    colour: Sequence[int],
) -> None:
    """Draw a line with round ends between two points, x and y."""
    height, across = canvas.shape[:2]
    reach = width / 2 + 1
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    x0, x1 = max(int(low[0]), 0), min(int(high[0]) + 2, across)
    y0, y1 = max(int(low[1]), 0), min(int(high[1]) + 2, height)
    if x0 >= x1 or y0 >= y1:
        return
    along = end - start
    x = np.arange(x0, x1)[None] - start[0]
    y = np.arange(y0, y1)[:, None] - start[1]
    share = np.clip((x * along[0] + y * along[1]) / max(along @ along, 1e-9), 0, 1)
    distance = np.hypot(x - share * along[0], y - share * along[1])
    cover = np.clip(width / 2 + 0.5 - distance, 0, 1).astype(np.float32)
    blend(canvas[y0:y1, x0:x1], cover, colour)


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
    outline, body = text_mask(str(number), size)
    height, width = outline.shape
    x = int(np.clip(round(float(box[0])), 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(round(float(box[1])) - height, 0, max(canvas.shape[0] - height, 0)))
    draw_text(canvas, x, y, outline, body, WHITE)


def draw_text(
    canvas: np.ndarray,
    x: int,
    y: int,
    outline: np.ndarray,
    body: np.ndarray,
    colour: Sequence[int],
) -> None:
    """Draw a text, by its masks as from `text_mask`, with its upper left corner at x, y."""
    part = canvas[y : y + outline.shape[0], x : x + outline.shape[1]]
    for cover, paint in ((outline, BLACK), (body, colour)):
        blend(part, cover[: part.shape[0], : part.shape[1]], paint)


def draw_legend(canvas: np.ndarray, faces: Detections) -> None:
    """Write the names of own key points in their colours into the corner where they hide the least
    of the faces. Kaggle's points, whose colours the documents explain, have no legend."""
    if set(faces.names) <= set(KEY_POINTS):
        return
    height, width = canvas.shape[:2]
    found = np.isfinite(faces.spread).all(0)
    styles = [style for style, here in zip(styles_of(faces.names), found, strict=True) if here]
    entries = list(dict.fromkeys((colour, label) for colour, _, label in styles))
    size = int(np.clip(max(height, width) / 50, 9, max(9, height / (1.5 * len(entries) + 1))))
    fonts = files_for([label for _, label in entries])
    lines = [(*text_mask(label, size, file_of(label, fonts)), rgb(c)) for c, label in entries]
    step = round(1.4 * size)
    high, wide = step * len(lines), max(outline.shape[1] for outline, *_ in lines)
    edge = size // 2
    across, down = (edge, max(width - wide - edge, 0)), (edge, max(height - high - edge, 0))
    corners = [(x, y) for y in down for x in across]
    boxes = boxes_to_chins(faces.affines)
    x, y = min(corners, key=lambda corner: covered(boxes, (*corner, wide, high)))
    for i, (outline, body, colour) in enumerate(lines):
        draw_text(canvas, x, y + i * step, outline, body, colour)


def covered(boxes: np.ndarray, area: tuple[int, int, int, int]) -> float:
    """How many pixels of boxes (N, 4) an area covers; both are x, y, w, h."""
    area_box = np.array(area, float)
    low = np.maximum(boxes[:, :2], area_box[:2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], area_box[:2] + area_box[2:])
    return float(np.maximum(high - low, 0).prod(1).sum())


@lru_cache(maxsize=256)
def text_mask(text: str, size: int, file: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The share of each pixel that a text of that height covers: with its outline, without it.

    `file` of a font; None: Pillow's own, which has Latin letters and digits.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    outline = max(1, size // 10)
    x0, y0, x1, y1 = (round(v) for v in font.getbbox(text, stroke_width=outline))
    masks = []
    for stroke in (outline, 0):
        mask = Image.new("L", (max(x1 - x0, 1), max(y1 - y0, 1)))
        pen = ImageDraw.Draw(mask)
        pen.text((-x0, -y0), text, fill=255, font=font, stroke_width=stroke)
        masks.append(np.asarray(mask, np.float32) / 255)
    return masks[0], masks[1]


def blend(part: np.ndarray, cover: np.ndarray, colour: Sequence[int]) -> None:
    """Blend a colour into part of a canvas (h, w, 3), with `cover` (h, w) 0 .. 1 as its opacity."""
    weight = cover[..., None]
    part[:] = part + (np.array(colour, np.float32) - part) * weight + 0.5
