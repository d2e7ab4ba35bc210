"""Who is pictured and what the face does: identity and expression as vertices of one mesh.

The heads are MakeHuman's (CC0, see LICENSE.heads.md); heads.npz is written by make_heads.py.
Head frame: centimetres, x to the subject's left, y up, z towards the viewer; the eyes of the mean
adult are centred at (+-2.89, 0.16, 4.80).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from data.synthetic.curves import chance
from data.synthetic.rendered.make_heads import AGES, ANCESTRIES, BUILDS, HEADS, SEXES
from data.synthetic.rendered.raster import unit

# How far each kind of shape varies (standard deviation, in shares of MakeHuman's extremes).
VARIATION = {
    "head": 0.12,
    "forehead": 0.18,
    "eyebrows": 0.22,
    "eye": 0.21,
    "nose": 0.2,
    "mouth": 0.2,
    "ear": 0.35,
    "chin": 0.2,
    "cheek": 0.25,
    "neck": 0.12,
    "measure": 0.1,
}
# Compared with real people, MakeHuman's lips are too thick and its mouths too narrow. In white
# adults (Farkas 1994, Anthropometry of the Head and Face), relative to the interpupillary distance,
# the upper vermilion is about 0.13 high, the lower 0.15, and the mouth 0.82 wide; other ancestries
# have higher lips, as MakeHuman's have. Mean and standard deviation of these shapes, as fractions
# of MakeHuman's extremes:
MEASURED = {
    "mouth-upperlip-height-incr": (-0.3, 0.35),
    "mouth-lowerlip-height-incr": (-0.45, 0.3),
    "mouth-scale-horiz-incr": (0.15, 0.25),
}
FIXED = ("head-trans", "head-angle", "neck-trans", "ear-shape", "head-age")  # never varied
OPPOSITES = {
    "incr": "decr",
    "up": "down",
    "out": "in",
    "forward": "backward",
    "uncompress": "compress",
    "convex": "concave",
}
AGE_GROUPS = {"child": (3, 15), "young": (15, 35), "middle": (35, 60), "old": (60, 90)}


@dataclass(frozen=True)
class Axis:
    """Two opposite shapes, for both sides or, where it has sides, for each."""

    name: str
    sides: tuple[tuple[int | None, int | None], ...]  # per side: the positive and negative shape
    mean: float
    variation: float


@dataclass(frozen=True)
class Heads:
    """All of heads.npz, as the renderer uses it."""

    neutral: np.ndarray  # (V, 3) float32
    vertex: np.ndarray  # (V,) their numbers in MakeHuman's base.obj
    triangles: np.ndarray  # (T, 3) int32
    region: np.ndarray  # (T,) index into make_heads.REGIONS
    paint: np.ndarray  # (V, 5) float32, see make_heads
    targets: dict[str, tuple[np.ndarray, np.ndarray]]  # macro, build, shape, unit: values, scale
    units: dict[str, int]  # face units by name
    places: dict[str, int]  # named places: a vertex each
    eyes: dict[str, np.ndarray]  # left, right: the eyeball's vertices
    loops: dict[str, np.ndarray]  # eye_left, eye_right, lips, mouth
    axes: tuple[Axis, ...]
    turning: np.ndarray  # (V,) 1 where a vertex turns with the head, 0 where it stays on the body

    def add(self, vertices: np.ndarray, kind: str, index: int, weight: float) -> None:
        """Add a target to the vertices (V, 3), in place."""
        values, scale = self.targets[kind]
        vertices += values[index] * np.float32(weight * scale[index])


def _axes(names: list[str]) -> tuple[Axis, ...]:
    """The shapes' names as axes: opposite shapes, and those of both sides, belong together."""
    number = {name: i for i, name in enumerate(names)}
    axes, used = [], set()
    for name in names:
        bare = name[2:] if name[:2] in ("l-", "r-") else name
        stem, _, end = bare.rpartition("-")
        if bare.startswith(FIXED) or end in OPPOSITES.values():
            continue
        opposite = f"{stem}-{OPPOSITES[end]}" if end in OPPOSITES else None
        if bare in used:
            continue
        used.add(bare)
        prefixes = ("l-", "r-") if name != bare else ("",)
        sides = tuple(
            (number.get(prefix + bare), number.get(f"{prefix}{opposite}")) for prefix in prefixes
        )
        mean, variation = MEASURED.get(bare, (0.0, VARIATION[bare.split("-")[0]]))
        axes.append(Axis(bare, sides, mean, variation))
    return tuple(axes)


@lru_cache(maxsize=1)
def load_heads() -> Heads:
    """The heads, read once."""
    with np.load(HEADS) as file:
        data: dict[str, Any] = {name: file[name] for name in file.files}
    neutral = data["neutral"]
    # The head turns on the neck; the shoulders stay. Further down at the back of the neck.
    height = neutral[:, 1] + 0.35 * np.clip(neutral[:, 2], -8, 4)
    turning = np.clip((height + 17) / 6, 0, 1)
    return Heads(
        neutral=neutral,
        vertex=data["vertex"].astype(np.int32),
        triangles=data["triangles"].astype(np.int32),
        region=data["region"],
        paint=data["paint"].astype(np.float32),
        targets={k: (data[k], data[f"{k}_scale"]) for k in ("macro", "build", "shape", "unit")},
        units={str(name): i for i, name in enumerate(data["unit_names"])},
        places={str(n): int(v) for n, v in zip(data["place_names"], data["places"], strict=True)},
        eyes={side: data[f"eye_{side}"].astype(np.int32) for side in ("left", "right")},
        loops={k[5:]: v.astype(np.int32) for k, v in data.items() if k.startswith("loop_")},
        axes=_axes([str(name) for name in data["shape_names"]]),
        turning=(turning * turning * (3 - 2 * turning)).astype(np.float32),
    )


@dataclass(frozen=True)
class Person:
    """An identity, as far as the shape of the head goes."""

    group: str  # of AGE_GROUPS
    years: float
    sex: str
    masculinity: float  # 0 female .. 1 male
    ancestry: np.ndarray  # (3,) shares of ANCESTRIES
    build: np.ndarray  # (2,) weight and muscle, -1..1
    shapes: np.ndarray  # (axes, 2) amounts, left and right
    size: np.ndarray  # (3,) stretch of the whole head


def draw_person(rng: np.random.Generator) -> Person:
    """A random identity: age groups, sexes and ancestries come up equally often."""
    n, axes = rng.normal, load_heads().axes
    group = str(rng.choice(list(AGE_GROUPS)))
    sex = str(rng.choice(SEXES))
    masculinity = abs(float(sex == "male") - min(abs(n(0, 0.15)), 0.4))
    spread = np.array([axis.variation for axis in axes])
    amounts = np.clip(n([axis.mean for axis in axes], spread), -1, 1)
    shapes = np.clip(amounts[:, None] + n(0, 0.12 * spread[:, None], (len(axes), 2)), -1, 1)
    return Person(
        group=group,
        years=float(rng.uniform(*AGE_GROUPS[group])),
        sex=sex,
        masculinity=masculinity,
        ancestry=rng.dirichlet(np.full(len(ANCESTRIES), 0.6)),
        build=np.clip(n(0, [0.45, 0.4]), -1, 1),
        shapes=shapes,
        size=np.exp(n(0, [0.03, 0.03, 0.03])),
    )


def _age_shares(years: float) -> np.ndarray:
    """How much of each of AGES is in a head of that age, (4,): MakeHuman's 1, 10, 25, 90 years."""
    place = np.interp(years, [1, 10, 25, 90], np.arange(len(AGES)))
    return np.maximum(0, 1 - np.abs(place - np.arange(len(AGES))))


def shape_head(person: Person) -> np.ndarray:
    """The person's head at rest, vertices (V, 3) float32 in centimetres."""
    heads = load_heads()
    vertices = heads.neutral.copy()
    ages = _age_shares(person.years)
    sexes = np.array([1 - person.masculinity, person.masculinity])
    weight, muscle = person.build
    builds = np.array([max(-weight, 0), max(weight, 0), max(-muscle, 0), max(muscle, 0)])
    for s, sex in enumerate(sexes):
        for a, age in enumerate(ages):
            if not sex * age:
                continue
            for k, share in enumerate(person.ancestry):
                index = (k * len(SEXES) + s) * len(AGES) + a
                heads.add(vertices, "macro", index, sex * age * share)
            for k, amount in enumerate(builds):
                if amount:
                    index = (s * len(AGES) + a) * len(BUILDS) + k
                    heads.add(vertices, "build", index, sex * age * amount)
    for axis, amounts in zip(heads.axes, person.shapes, strict=True):
        for (positive, negative), amount in zip(axis.sides, amounts, strict=False):
            shape = positive if amount > 0 else negative
            if shape is not None:
                heads.add(vertices, "shape", shape, abs(amount))
    return vertices * person.size.astype(np.float32)


@dataclass(frozen=True)
class Expression:
    """What the face does: the weights of face units, and where the eyes look."""

    units: dict[str, float]
    gaze: tuple[float, float]  # radians, to the subject's left and up

    @property
    def smile(self) -> float:
        """How much it smiles, 0 .. 1."""
        parts = [self.units.get(f"mouth{part}", 0.0) for part in ("SmileLeft", "SmileRight")]
        return float(np.clip(sum(parts) / 0.9, 0, 1))


class _Units(dict[str, float]):
    """Weights of face units that are added up."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.rng = rng

    def put(self, name: str, value: float, jitter: float = 0.0) -> None:
        """Add to a unit."""
        scale = self.rng.normal(1, jitter) if jitter else 1
        self[name] = self.get(name, 0.0) + float(value * scale)

    def both(self, name: str, value: float, jitter: float = 0.15) -> None:
        """Add to a unit on both sides of the face, not quite alike."""
        for side in ("Left", "Right"):
            self.put(name + side, value, jitter)


EYES_TURN = 0.75  # the furthest that people turn their eyes towards the camera, in radians
# MakeHuman's eyeballs are too large: their radius is 1.54 cm where 1.1 would match the distance
# between its eyes. They rotate less for the same displacement of the pupil.
BALL = 1.1 / 1.54


def draw_expression(
    rng: np.random.Generator, camera: tuple[float, float] | None = None
) -> Expression:
    """A random expression: at rest, smiling, talking, shouting, sad or odd.

    Eyes are as open as in people: the opening's height is 0.34 of its width (Farkas 1994), less in
    smiles. `camera` is its direction in the head's frame, in radians to the subject's left and up;
    half of the people look at it, as far as their eyes turn.
    """
    w, u, n = _Units(rng), rng.uniform, rng.normal
    _draw_mouth(w, rng)
    brow = n(0, 0.4)
    w.put("browInnerUp", max(brow, 0))
    w.both("browDown", max(-brow, 0) * 0.8)
    w.both("browOuterUp", max(n(0, 0.4), 0), 0.3)
    if chance(rng, 0.07):
        w.both("eyeBlink", u(0.6, 0.85), 0.03)
    elif chance(rng, 0.02):
        w.put(f"eyeBlink{rng.choice(['Left', 'Right'])}", u(0.65, 0.85))
    else:
        w.both("eyeBlink", np.clip(n(0.0, 0.12), -0.15, 0.5), 0.06)
    w.both("eyeSquint", max(0, n(-0.1, 0.25)))
    w.both("eyeWide", max(0, n(-0.1, 0.3)))
    gaze = np.clip([n(0, 0.25), n(0, 0.13)], [-0.6, -0.4], [0.6, 0.35])
    if camera and chance(rng, 0.5):
        toward = np.clip(camera, -EYES_TURN, EYES_TURN) + n(0, 0.04, 2)
        gaze = np.arcsin(BALL * np.sin(toward))
    across, up = (gaze / [0.6, 0.5]).tolist()
    w.put("eyeLookOutLeft", max(across, 0))
    w.put("eyeLookInRight", max(across, 0))
    w.put("eyeLookInLeft", max(-across, 0))
    w.put("eyeLookOutRight", max(-across, 0))
    w.both("eyeLookUp", max(up, 0), 0)
    w.both("eyeLookDown", max(-up, 0), 0)
    for part in ("jaw", "mouth"):
        way = n(0, 0.12)
        w.put(f"{part}{'Left' if way > 0 else 'Right'}", abs(way))
    return Expression({name: v for name, v in w.items() if v}, (float(gaze[0]), float(gaze[1])))


def _draw_mouth(w: _Units, rng: np.random.Generator) -> None:
    """The mouth's part of an expression, added to `w`."""
    u, n = rng.uniform, rng.normal
    kind = rng.choice(["rest", "smile", "talk", "shout", "odd"], p=[0.27, 0.31, 0.21, 0.11, 0.1])
    if kind == "rest":
        _smile(w, max(0, n(0.05, 0.12)))
        w.put("jawOpen", max(0, n(-0.02, 0.04)))
    elif kind == "smile":
        smile = u(0.25, 1.15)
        _smile(w, smile)
        w.both("cheekSquint", smile * u(0, 0.9))
        w.both("eyeSquint", smile * u(0, 0.5))
        if chance(rng, 0.65):  # with teeth
            w.both("mouthUpperUp", u(0, 0.4))
            w.both("mouthLowerDown", u(0, 0.6))
            w.put("jawOpen", u(0.03, 0.3))
    elif kind == "talk":
        w.put("jawOpen", u(0, 0.45))
        _widen(w, u(0, 1.2) * chance(rng, 0.7))
        w.both("mouthLowerDown", u(0, 0.7))
        w.both("mouthUpperUp", u(0, 0.5))
        w.put("mouthFunnel", u(0, 0.6) * chance(rng, 0.4))
        w.put("mouthPucker", u(0, 0.8) * chance(rng, 0.3))
    elif kind == "shout":
        w.put("jawOpen", u(0.35, 1.0))
        _smile(w, u(0, 0.9) * chance(rng, 0.5))
        _widen(w, u(0.2, 1.9) * chance(rng, 0.9))
        w.both("eyeWide", u(0, 0.9) * chance(rng, 0.5))
        w.both("mouthUpperUp", u(0, 0.5))
        w.both("mouthLowerDown", u(0, 0.5))
    else:
        w.both("mouthFrown", u(0, 0.9))
        w.both("browDown", u(0, 1))
        w.both("noseSneer", u(0, 0.8) * chance(rng, 0.4))
        w.put("mouthShrugLower", u(0, 0.7))
        w.put("mouthPucker", u(0, 0.9) * chance(rng, 0.3))
        w.both("mouthPress", u(0, 0.8) * chance(rng, 0.4))
        w.put("mouthRollLower", u(0, 0.6) * chance(rng, 0.3))
        w.put("cheekPuff", u(0, 0.8) * chance(rng, 0.15))


def _widen(w: _Units, amount: float) -> None:
    """Draw the corners of the mouth apart.

    MakeHuman's open mouths are narrower than closed ones. In Kaggle's training faces they are about
    as wide as closed ones, in LFW's wider.
    """
    w.both("mouthStretch", 0.4 * amount)
    w.both("mouthDimple", 0.4 * amount)


def _smile(w: _Units, amount: float) -> None:
    """A smile; 1 is a full one.

    MakeHuman's unit alone lifts the corners of the mouth at 61 degrees and leaves the upper lip
    behind. In people the mouth widens to 130 % and the upper lip shortens to 80 % (Rigsbee et al.
    1988), in spontaneous smiles to 127 % and 72 %, while the corners move outwards and up at 47
    degrees (Tarantili et al. 2005). Here it is 130 %, 69 % and 49 degrees.
    """
    u = w.rng.uniform
    w.both("mouthSmile", 0.45 * amount * u(0.6, 1.4))
    w.both("mouthDimple", 0.6 * amount * u(0.4, 1.6))
    w.both("mouthStretch", 0.15 * amount * u(0, 2))
    w.both("mouthUpperUp", 0.6 * amount * u(0.4, 1.6))


def express(vertices: np.ndarray, expression: Expression) -> np.ndarray:
    """The head's vertices (V, 3) with the expression on."""
    heads = load_heads()
    vertices = vertices.copy()
    for name, weight in expression.units.items():
        heads.add(vertices, "unit", heads.units[name], weight)
    return vertices


@dataclass(frozen=True)
class Eyeball:
    """A ball with an iris where it looks."""

    centre: np.ndarray  # (3,) centimetres
    radius: float
    look: np.ndarray  # (3,) unit vector

    @property
    def pupil(self) -> np.ndarray:
        """The pupil's place (3,), on the ball."""
        return self.centre + self.radius * self.look


def on_each_eye(
    eyes: dict[str, Eyeball], places: np.ndarray
) -> Iterator[tuple[Eyeball, np.ndarray, np.ndarray, np.ndarray]]:
    """Each eyeball, and which of the places (N, 3) of the head are on it, as indices (M,); their
    directions from its centre, unit vectors (M, 3); and how far they are from the pupil along the
    ball, (M,) centimetres.

    Unit vectors, because the triangles of `ball_mesh` lie below the ball.
    """
    for side, ball in eyes.items():
        own = np.flatnonzero((places[:, 0] > 0) == (side == "left"))
        rays = unit(places[own] - ball.centre)
        cosine = np.clip(np.einsum("nk,k->n", rays, ball.look), -1, 1)
        yield ball, own, rays, np.arccos(cosine) * ball.radius


def eyeballs(vertices: np.ndarray, expression: Expression) -> dict[str, Eyeball]:
    """Both eyes of a head at rest (V, 3); they turn by the expression's gaze."""
    across, up = expression.gaze
    look = np.array([np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)])
    balls = {}
    for side, ring in load_heads().eyes.items():
        ball = vertices[ring]
        centre = (ball.min(0) + ball.max(0)) / 2
        radius = float(np.sqrt(((ball - centre) ** 2).sum(1)).mean())
        balls[side] = Eyeball(centre, radius, look.astype(np.float32))
    return balls


@lru_cache(maxsize=1)
def ball_mesh(rings: int = 12, segments: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """The front of a unit ball: vertices (N, 3) and triangles (M, 3)."""
    polar = np.repeat(np.radians(np.linspace(0, 100, rings)), segments)
    turn = np.tile(np.arange(segments) * 2 * np.pi / segments, rings)
    ball = [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)]
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(segments), indexing="ij")
    a, b = (i * segments + j).ravel(), (i * segments + (j + 1) % segments).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + segments, b], 1), np.stack([b, a + segments, b + segments], 1)]
    )
    return np.stack(ball, 1).astype(np.float32), triangles.astype(np.int32)
