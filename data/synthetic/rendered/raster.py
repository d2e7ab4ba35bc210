"""Triangles to pixels, and what painting needs besides curves: noise and blurs.

All of it is NumPy in single precision, without BLAS, whose rounding depends on the number of
threads: a face must not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from data.synthetic.curves import interpolation

TILE = 256  # side of the noise pictures


def noise(
    rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int
) -> np.ndarray:
    """Smooth noise (height, width) of about unit size with the given number of cells."""
    coarse = rng.standard_normal((cells_y, cells_x), dtype=np.float32)
    rows, columns = interpolation(height, cells_y), interpolation(width, cells_x)
    return np.einsum("yc,xc->yx", np.einsum("yr,rc->yc", rows, coarse), columns)


@lru_cache(maxsize=1)
def _tiles() -> np.ndarray:
    """Three noise pictures (3, TILE, TILE) of unit variance: coarse, middling and fine grain."""
    cells = (8, 16, 32, 64, 128)
    tiles = np.empty((3, TILE, TILE), np.float32)
    for i, first in enumerate((0, 2, 3)):
        rng = np.random.default_rng(i)
        layers = [noise(rng, TILE, TILE, k, k) / k**0.5 for k in cells[first:]]
        tiles[i] = sum(layers)
    return tiles / tiles.std((1, 2), keepdims=True)


def grain(kind: int, x: np.ndarray, y: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Noise at x, y (counted in tiles) of the given kind: 0 coarse, 1 middling, 2 fine."""
    column = ((x + offset[0]) * TILE).astype(np.int32) & (TILE - 1)
    row = ((y + offset[1]) * TILE).astype(np.int32) & (TILE - 1)
    return np.take(_tiles()[kind], row * TILE + column)


def box_blur(picture: np.ndarray, radius: int) -> np.ndarray:
    """The mean over squares of side 2 * radius + 1; the border is continued."""
    for axis in (0, 1):
        pad = [(radius + 1, radius) if k == axis else (0, 0) for k in (0, 1)]
        total = np.pad(picture, pad, mode="edge").cumsum(axis, dtype=np.float32)
        total = np.moveaxis(total, axis, 0)
        wide = 2 * radius + 1
        picture = np.moveaxis((total[wide:] - total[:-wide]) / wide, 0, axis)
    return picture


def rotate(vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Each of vectors (N, 3) turned by the matrix `rotation` (3, 3)."""
    turned = vectors[:, :1] * rotation[:, 0]
    turned += vectors[:, 1:2] * rotation[:, 1]
    turned += vectors[:, 2:] * rotation[:, 2]
    return turned


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) scaled to length 1."""
    length = np.sqrt(np.einsum("...k,...k->...", vectors, vectors))
    return vectors / (length + 1e-9)[..., None]


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of vertices (V, 3): the area-weighted mean of the triangles' normals."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    e, f = b - a, c - a
    normal = np.stack(
        [
            e[:, 1] * f[:, 2] - e[:, 2] * f[:, 1],
            e[:, 2] * f[:, 0] - e[:, 0] * f[:, 2],
            e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0],
        ],
        1,
    )
    corner = triangles.T.ravel()
    total = [np.bincount(corner, np.tile(normal[:, k], 3), len(vertices)) for k in range(3)]
    return unit(np.stack(total, 1)).astype(np.float32)


def interpolate(values: np.ndarray, triangles: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values (V, C) of vertices at places (N): in triangles (N, 3) with weights (N, 3)."""
    out = np.take(values, triangles[:, 0], 0) * weights[:, :1]
    out += np.take(values, triangles[:, 1], 0) * weights[:, 1:2]
    out += np.take(values, triangles[:, 2], 0) * weights[:, 2:]
    return out


def rasterise(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, size: int, cull: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which parts of a mesh are visible in size x size pixels.

    xy (V, 2) in pixels with y down, z (V,) larger where nearer, triangles (T, 3). With `cull`
    back-facing triangles are left out. Returns the pixels (P,) that show something, row by row from
    0 to size * size - 1 but in any order, and of each the triangle's number (P,), the weights of
    its corners (P, 3) and the depth (P,).
    """
    x, y = np.ascontiguousarray(xy.T, np.float32)
    (ax, bx, cx), (ay, by, cy) = x[triangles.T], y[triangles.T]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    left, right = np.minimum(np.minimum(ax, bx), cx), np.maximum(np.maximum(ax, bx), cx)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy)), 0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy)), size - 1)
    facing = area < -1e-9 if cull else np.abs(area) > 1e-9
    some = np.flatnonzero(facing & (bottom >= top) & (right >= 0) & (left <= size - 1))
    ax, ay, bx, by, cx, cy = (part[some] for part in (ax, ay, bx, by, cx, cy))
    inverse, top = 1 / area[some], top[some]
    # The weights of corners b and c, and the depth, are planes over the picture.
    slopes = np.stack([cy - ay, ax - cx, ay - by, bx - ax]) * inverse  # db/dx db/dy dc/dx dc/dy
    depths = z[triangles[some].T].astype(np.float32)
    dz_b, dz_c = depths[1] - depths[0], depths[2] - depths[0]
    table = np.stack([ax, ay, *slopes, depths[0], dz_b, dz_c, top]).astype(np.float32)
    owner, row, first, count = _spans(table, (bottom[some] - top + 1).astype(np.int32), size)
    # Every pixel of every span, one after the other.
    pixels = np.repeat(np.arange(len(owner), dtype=np.int32), count)
    ends = np.cumsum(count, dtype=np.int32)
    along = np.arange(len(pixels), dtype=np.int32) - (ends - count)[pixels]
    ax, ay, b_x, b_y, c_x, c_y, z_a, z_b, z_c, _ = table[:, owner]
    b = (first - ax) * b_x + (row - ay) * b_y
    c = (first - ax) * c_x + (row - ay) * c_y
    start, slope = z_a + b * z_b + c * z_c, b_x * z_b + c_x * z_c
    pixel = (row * size + first).astype(np.int32)[pixels] + along
    along = along.astype(np.float32)
    depth = start[pixels] + along * slope[pixels]
    nearest = np.full(size * size, -1e9, np.float32)
    np.maximum.at(nearest, pixel, depth)
    assert depth.dtype == nearest.dtype, "or none would be equal"
    won = np.flatnonzero(depth == nearest[pixel])
    # Of triangles that are equally near, one.
    last = np.empty(size * size, np.int32)
    last[pixel[won]] = won
    won = won[last[pixel[won]] == won]
    span, along = pixels[won], along[won]
    b, c = b[span] + along * b_x[span], c[span] + along * c_x[span]
    return pixel[won], some[owner[span]], np.stack([1 - b - c, b, c], 1), depth[won]


def depth_picture(xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, size: int) -> np.ndarray:
    """The depth (size * size,) of what `rasterise` sees; -1e9 where nothing is."""
    pixel, _, _, depth = rasterise(xy, z, triangles, size)
    picture = np.full(size * size, -1e9, np.float32)
    picture[pixel] = depth
    return picture


def _spans(
    table: np.ndarray, heights: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every triangle's pixels row by row: its number, row, first column, number of columns."""
    owner = np.repeat(np.arange(len(heights), dtype=np.int32), heights)
    ends = np.cumsum(heights, dtype=np.int32)
    below = np.arange(len(owner), dtype=np.int32) - (ends - heights)[owner]
    ax, ay, b_x, b_y, c_x, c_y, *_, top = table[:, owner]
    row = top + below.astype(np.float32)
    low, high = np.zeros(len(owner), np.float32), np.full(len(owner), size - 1, np.float32)
    down = row - ay
    # Inside is where none of the three weights is negative.
    for slope, at in ((b_x, down * b_y), (c_x, down * c_y), (-b_x - c_x, 1 - down * (b_y + c_y))):
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = ax - at / slope
        np.maximum(low, np.where(slope > 0, edge, -np.inf), out=low)
        np.minimum(high, np.where(slope < 0, edge, np.inf), out=high)
        high[(slope == 0) & (at < 0)] = -1
    first = np.ceil(low - 1e-3)
    count = (np.floor(high + 1e-3) - first + 1).astype(np.int32)
    some = np.flatnonzero(count > 0)
    return owner[some], row[some], first[some], count[some]
