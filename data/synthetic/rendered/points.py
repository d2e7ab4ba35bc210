"""Key points by anatomy: Kaggle's 15, the 68 of 300-W, or a user's own list of places.

Every point has one meaning on every head (data/README.md, "What each point means"):

- the eye's corners are where the lids meet;
- the eye's centre lies halfway between the pupil and the middle of the opening, which is the mean
  of both corners and of the middles of both lids;
- a brow's ends are the ends of the brow that is painted, at half its height. Brows lie on the
  ridge above the eye socket: they begin above the inner corner of the eye and end on the line from
  the wing of the nose through the outer corner;
- the nose tip is the nose's foremost point as seen by someone whom the face looks at;
- the mouth's corners are where the lips meet, the lips' centres lie on their outer edges on the
  middle line.

The 17 points of the jaw are places on the bone, even where 300-W marks a turned head's outline.

A file of places has one point per line: a name, then nothing if it is the name of one of the 15 or
68, `left_pupil` or `right_pupil`, or else one to three vertices of MakeHuman's base.obj (counted
from 0, as Blender counts them), each with `:weight` where the point lies between them. `#` begins a
comment:

    left_eye_center
    right_eye_center
    left_ear_lobe 12340
    right_ear_lobe 5743
    between_the_brows 220:0.5 169:0.5
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.key_points import KEY_POINTS, SIXTY_EIGHT, Names, mirror_partners
from data.synthetic.rendered.heads import (
    Eyeball,
    draw_expression,
    draw_person,
    express,
    eyeballs,
    load_heads,
    shape_head,
)
from data.system.files import InputError, check_file

BROW = ("inner_end", "inner_quarter", "middle", "outer_quarter", "outer_end")


def _sided(side: str, stems: str) -> list[str]:
    """Names of one side."""
    return [f"{side}_{stem}" for stem in stems.split()]


# The places of heads.npz, and of the brows, where the 68 points lie, in their order.
_PLACES_68 = (
    [f"right_jaw_{i}" for i in range(1, 9)]
    + ["chin"]
    + [f"left_jaw_{i}" for i in range(8, 0, -1)]
    + [f"right_eyebrow_{part}" for part in reversed(BROW)]
    + [f"left_eyebrow_{part}" for part in BROW]
    + ["nose_bridge_1", "nose_bridge_2", "nose_bridge_3", "nose_tip"]
    + ["right_nose_base_2", "right_nose_base_1", "nose_base"]
    + ["left_nose_base_1", "left_nose_base_2"]
    + _sided("right", "eye_outer_corner upper_lid_outer upper_lid_inner")
    + _sided("right", "eye_inner_corner lower_lid_inner lower_lid_outer")
    + _sided("left", "eye_inner_corner upper_lid_inner upper_lid_outer")
    + _sided("left", "eye_outer_corner lower_lid_outer lower_lid_inner")
    + ["mouth_right_corner", "outer_top_lip_right_2", "outer_top_lip_right_1"]
    + ["outer_top_lip_center", "outer_top_lip_left_1", "outer_top_lip_left_2"]
    + ["mouth_left_corner", "outer_bottom_lip_left_2", "outer_bottom_lip_left_1"]
    + ["outer_bottom_lip_center", "outer_bottom_lip_right_1", "outer_bottom_lip_right_2"]
    + ["mouth_right_inner_corner", "inner_top_lip_right_1", "inner_top_lip_center"]
    + ["inner_top_lip_left_1", "mouth_left_inner_corner", "inner_bottom_lip_left_1"]
    + ["inner_bottom_lip_center", "inner_bottom_lip_right_1"]
)


# Places outside both sets that a file may also name.
FURTHER = ("left_pupil", "right_pupil")


@dataclass(frozen=True)
class Places:
    """Which points are asked for: names, and the vertices of the user's own."""

    names: Names
    own: dict[str, tuple[tuple[int, ...], tuple[float, ...]]]  # vertices of heads.npz, weights


def read_places(points: str | Path) -> Places:
    """`15`, `68` or a file as described above. Raises InputError that names file and line."""
    if str(points) == "15":
        return Places(KEY_POINTS, {})
    if str(points) == "68":
        return Places(SIXTY_EIGHT, {})
    path = Path(points)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give 15, 68 or a file of places on the head.")
    check_file(path, "give 15, 68 or a file of places on the head")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; give one line per point.") from None
    names: list[str] = []
    own = {}
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        name, *corners = words
        if name in names:
            raise InputError(f"{where}: {name} is there twice; give each point its own name.")
        if corners:
            own[name] = _own_place(corners, where)
        elif name not in (*KEY_POINTS, *SIXTY_EIGHT, *FURTHER):
            raise InputError(
                f"{where}: {name} is not one of the 15 or 68 points, nor a pupil; add the numbers"
                " of one to three vertices of MakeHuman's base.obj."
            )
        names.append(name)
    if not names:
        raise InputError(f"{path} names no point; give one line per point.")
    try:
        mirror_partners(tuple(names))
    except ValueError as problem:
        raise InputError(f"{path} {problem}; add a line for that one, or rename it.") from None
    return Places(tuple(names), own)


def _own_place(corners: list[str], where: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Vertices `number[:weight]` as indices into the head and weights that add up to 1."""
    vertices, weights = [], []
    known = {int(v): i for i, v in enumerate(load_heads().vertex)}
    for corner in corners:
        number, _, weight = corner.partition(":")
        try:
            vertices.append(known[int(number)])
            weights.append(float(weight or 1))
        except KeyError:
            raise InputError(
                f"{where}: base.obj's vertex {number} is not part of the head; choose another."
            ) from None
        except ValueError:
            raise InputError(
                f"{where}: {corner!r:.40} is neither a vertex number nor one with `:weight`;"
                " correct it."
            ) from None
    total = sum(weights)
    if len(corners) > 3 or not np.isfinite(total) or min(weights) < 0 or not total:
        raise InputError(
            f"{where}: give one to three vertices, with weights of 0 or more that are not all 0."
        )
    return tuple(vertices), tuple(weight / total for weight in weights)


# ---------------------------------------------------------------------------- brows


@dataclass(frozen=True)
class Brow:
    """A brow's middle line on the neutral head: x outwards (cm), height y, and how thick it is."""

    inner: np.ndarray  # (2,)
    outer: np.ndarray  # (2,)
    arch: float  # cm above the straight line
    peak: float  # > 0: the arch's highest part lies outwards
    thickness: float
    taper: float

    def height(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At places x: how far along the brow (0 inner end .. 1 outer), and its middle's y."""
        (x0, y0), (x1, y1) = self.inner.tolist(), self.outer.tolist()
        t = (x - x0) / (x1 - x0)
        straight = y0 + (y1 - y0) * t
        return t, straight + self.arch * 4 * t * (1 - t) * (1 + self.peak * (t - 0.5))

    def points(self) -> np.ndarray:
        """The five points of BROW on the neutral head, x outwards and y, (5, 2)."""
        x = np.linspace(self.inner[0], self.outer[0], 5)
        return np.stack([x, self.height(x)[1]], 1)


def draw_brows(rng: np.random.Generator) -> dict[str, Brow]:
    """A left and a right brow: on the ridge above the socket, as anatomy has it.

    Its two ends are equally high on average (Roth and Metzinger 2003, Arch Facial Plast Surg 5).
    """
    n, u = rng.normal, rng.uniform
    lift = n(0, 0.16)
    inner = np.array([1.5, 1.5 + lift]) + n(0, [0.2, 0.12])
    outer = np.array([5.3, 1.4 + lift]) + n(0, [0.27, 0.22])
    arch, peak, taper = float(np.clip(n(0.42, 0.18), 0.0, 0.9)), u(-0.2, 1.2), u(0.2, 0.75)
    thickness = float(np.clip(n(0.41, 0.12), 0.14, 0.75))
    brows = {}
    for side in ("left", "right"):
        a, b = inner + n(0, [0.03, 0.05]), outer + n(0, [0.05, 0.06])
        brows[side] = Brow(a, b, arch, peak, thickness, taper)
    return brows


@lru_cache(maxsize=1)
def _brow_region() -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T, 3) of the neutral head about the brows, and their corners (T, 3, 3)."""
    heads = load_heads()
    triangles = heads.triangles[heads.region == 0]
    corner = heads.neutral[triangles]
    x, y, z = (corner[..., k] for k in range(3))
    (a, b, c) = (corner[:, k, :2] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    near = (z > 1).all(1) & (y > 0).all(1) & (y < 4.5).all(1) & (np.abs(x) < 7).all(1)
    return triangles[near & (area > 1e-4)], corner[near & (area > 1e-4)]


def on_surface(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places x, y about the brows of the neutral head (N, 2): vertices and weights (N, 3)."""
    triangles, corner = _brow_region()
    a, ab, ac = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    p = points[:, None].astype(np.float32) - a[:, :2]
    b = (p[..., 0] * ac[:, 1] - p[..., 1] * ac[:, 0]) / area
    c = (ab[:, 0] * p[..., 1] - ab[:, 1] * p[..., 0]) / area
    inside = np.minimum(np.minimum(b, c), 1 - b - c)
    depth = a[:, 2] + b * ab[:, 2] + c * ac[:, 2]
    # The triangle that contains the place; of several, the foremost.
    best = np.argmax(np.where(inside > -1e-3, depth, -1e3 + inside), 1)
    rows = np.arange(len(points))
    b, c = b[rows, best], c[rows, best]
    return triangles[best], np.stack([1 - b - c, b, c], 1)


# ---------------------------------------------------------------------------- places


def find_places(
    vertices: np.ndarray, brows: dict[str, Brow], eyes: dict[str, Eyeball]
) -> dict[str, np.ndarray]:
    """All named places on a head (V, 3) with these brows and eyes, in its frame: (3,) each."""
    spots = {name: vertices[v] for name, v in load_heads().places.items()}
    for side in ("left", "right"):
        parts = ("eye_inner_corner", "eye_outer_corner", "upper_lid_middle", "lower_lid_middle")
        opening = np.mean([spots[f"{side}_{part}"] for part in parts], 0)
        pupil = spots[f"{side}_pupil"] = eyes[side].pupil
        spots[f"{side}_eye_center"] = (opening + pupil) / 2
        corner, weight = on_surface(brows[side].points() * [1 if side == "left" else -1, 1])
        on_head = (vertices[corner] * weight[..., None]).sum(1)
        spots |= {f"{side}_eyebrow_{part}": p for part, p in zip(BROW, on_head, strict=True)}
    spots["nose_tip"] = _foremost(vertices)
    return spots | {n: spots[place] for n, place in zip(SIXTY_EIGHT, _PLACES_68, strict=True)}


def draw_head(
    who: np.random.Generator, does: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The vertices (V, 3) of a random head with a random expression, and its named places."""
    rest, expression = shape_head(draw_person(who)), draw_expression(does)
    vertices, eyes = express(rest, expression), eyeballs(rest, expression)
    return vertices, find_places(vertices, draw_brows(who), eyes)


def find_points(places: Places, vertices: np.ndarray, spots: dict[str, np.ndarray]) -> np.ndarray:
    """The points asked for on a head (V, 3) with the named places `spots`: (K, 3)."""
    spots = dict(spots)
    for name, (corners, weights) in places.own.items():
        spots[name] = np.asarray(weights) @ vertices[list(corners)]
    return np.array([spots[name] for name in places.names], np.float32)


def turning_of(places: Places) -> np.ndarray:
    """How much each point turns with the head (1) or stays on the shoulders (0), (K,)."""
    turning = load_heads().turning
    own = {n: np.dot(weights, turning[list(v)]) for n, (v, weights) in places.own.items()}
    return np.array([own.get(name, 1.0) for name in places.names], np.float32)


def _foremost(vertices: np.ndarray) -> np.ndarray:
    """The nose's foremost point, between the vertices nearest to it."""
    near = _nose_vertices()
    best = near[np.argsort(vertices[near, 2])[-5:]]
    return vertices[best].mean(0)


def _nose_vertices() -> np.ndarray:
    """The vertices about the nose's tip."""
    heads = load_heads()
    gap = heads.neutral - heads.neutral[heads.places["nose_tip"]]
    return np.flatnonzero((np.abs(gap) < [0.9, 1.3, 2.0]).all(1))
