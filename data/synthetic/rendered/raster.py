"""Triangles to pixels, and the small tools that painting needs: noise, ramps, blurs.

All of it is NumPy in single precision, without a library of linear algebra: those round
differently with another number of threads, and a face must not depend on that.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TILE = 256  # side of the noise pictures


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """0 below, 1 above, and a linear ramp `width` wide around distance 0."""
    return np.clip(distance / width + 0.5, 0, 1)


def bell(distance: np.ndarray, width: float) -> np.ndarray:
    """1 at distance 0, falling off like a Gaussian of standard deviation `width`."""
    return np.exp(-0.5 * np.square(distance / width))


def mix(below: np.ndarray, above: np.ndarray | float, weight: np.ndarray | float) -> np.ndarray:
    """`below` covered by `above` with an opacity of `weight`."""
    return below + (above - below) * weight


@lru_cache(maxsize=256)
def _stretch_matrix(out: int, cells: int) -> np.ndarray:
    """(out, cells) weights that stretch `cells` values smoothly over `out` places."""
    place = np.linspace(0, cells - 1, out)[:, None] - np.arange(cells)[None]
    weight = np.clip(1 - np.abs(place), 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def noise(
    rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int
) -> np.ndarray:
    """Smooth noise (height, width) of about unit size with the given number of cells."""
    coarse = rng.standard_normal((cells_y, cells_x), dtype=np.float32)
    rows, columns = _stretch_matrix(height, cells_y), _stretch_matrix(width, cells_x)
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
    return _tiles()[kind][row, column]


def box_blur(picture: np.ndarray, radius: int) -> np.ndarray:
    """The mean over squares of side 2 * radius + 1; the border is continued."""
    for axis in (0, 1):
        pad = [(radius + 1, radius) if k == axis else (0, 0) for k in (0, 1)]
        total = np.pad(picture, pad, mode="edge").cumsum(axis, dtype=np.float32)
        n = total.shape[axis]
        late = np.take(total, range(2 * radius + 1, n), axis)
        early = np.take(total, range(0, n - 2 * radius - 1), axis)
        picture = (late - early) / (2 * radius + 1)
    return picture


def rotate(vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Each of vectors (N, 3) turned by the matrix `rotation` (3, 3)."""
    return np.einsum("nk,ik->ni", vectors, rotation)


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
    out = values[triangles[:, 0]] * weights[:, :1]
    out += values[triangles[:, 1]] * weights[:, 1:2]
    out += values[triangles[:, 2]] * weights[:, 2:]
    return out


def rasterise(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, size: int, cull: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A z-buffer of size x size pixels.

    xy (V, 2) in pixels with y down, z (V,) larger where nearer, triangles (T, 3). With `cull`
    triangles that turn their back are left out. Returns, per pixel, the number of the triangle
    that is seen (-1: none), its three weights and the depth: (P,), (P, 3), (P,).
    """
    x, y = np.ascontiguousarray(xy.T, np.float32)
    i, j, k = triangles.T
    ax, ay = x[i], y[i]
    bx, by, cx, cy = x[j] - ax, y[j] - ay, x[k] - ax, y[k] - ay
    area = bx * cy - by * cx
    x0 = np.ceil(ax + np.minimum(np.minimum(bx, cx), 0))
    x1 = np.floor(ax + np.maximum(np.maximum(bx, cx), 0))
    y0 = np.ceil(ay + np.minimum(np.minimum(by, cy), 0))
    y1 = np.floor(ay + np.maximum(np.maximum(by, cy), 0))
    x0, y0 = np.maximum(x0, 0), np.maximum(y0, 0)
    x1, y1 = np.minimum(x1, size - 1), np.minimum(y1, size - 1)
    facing = area < -1e-9 if cull else np.abs(area) > 1e-9
    some = np.flatnonzero(facing & (x1 >= x0) & (y1 >= y0))
    # Every pixel of every bounding box, one after the other.
    wide = (x1 - x0 + 1)[some].astype(np.int32)
    count = wide * (y1 - y0 + 1)[some].astype(np.int32)
    owner = np.repeat(np.arange(len(some), dtype=np.int32), count)
    place = np.arange(len(owner), dtype=np.int32) - (np.cumsum(count) - count)[owner]
    row = place // wide[owner]
    inverse = 1 / area[some]
    table = np.stack(
        [x0[some], y0[some], ax[some], ay[some]]
        + [part[some] * inverse for part in (bx, by, cx, cy)],
        0,
    ).astype(np.float32)
    left, top, px, py, bx, by, cx, cy = table[:, owner]
    column = left + (place - row * wide[owner])
    row = top + row
    dx, dy = column - px, row - py
    v = dx * cy - dy * cx
    u = bx * dy - by * dx
    inside = np.flatnonzero((v >= -1e-4) & (u >= -1e-4) & (u + v <= 1 + 1e-4))
    u, v, owner = u[inside], v[inside], some[owner[inside]]
    weights = np.stack([1 - u - v, v, u], 1)
    depth = np.einsum("nk,nk->n", z[triangles[owner]].astype(np.float32), weights)
    pixel = (row[inside] * size + column[inside]).astype(np.int32)
    order = np.argsort(depth, kind="stable")
    pixel = pixel[order]
    seen = np.full(size * size, -1, np.int32)
    shares = np.zeros((size * size, 3), np.float32)
    nearest = np.full(size * size, -1e9, np.float32)
    seen[pixel] = owner[order]
    shares[pixel] = weights[order]
    nearest[pixel] = depth[order]
    return seen, shares, nearest
