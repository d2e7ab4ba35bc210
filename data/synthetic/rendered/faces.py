"""Rendered faces: a random person, expression, pose and light, photographed; with exact points."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.key_points import SIZE
from data.synthetic.curves import chance, mix, ramp
from data.synthetic.rendered import accessories
from data.synthetic.rendered.camera import (
    Camera,
    Pose,
    Scene,
    camera_direction,
    draw_pose,
    rotation,
)
from data.synthetic.rendered.hair import Hair, draw_curtain, draw_hair, draw_shell, paint_scalp
from data.synthetic.rendered.heads import (
    Expression,
    Eyeball,
    Heads,
    Person,
    ball_mesh,
    draw_expression,
    draw_person,
    express,
    eyeballs,
    load_heads,
    shape_head,
)
from data.synthetic.rendered.light import ShadowMap, catchlights, draw_light, highlight, shade
from data.synthetic.rendered.make_heads import ANCESTRIES, REGIONS
from data.synthetic.rendered.photograph import CANVAS, draw_background, photograph
from data.synthetic.rendered.points import (
    Brow,
    Places,
    draw_brows,
    find_places,
    find_points,
    read_places,
    turning_of,
)
from data.synthetic.rendered.raster import (
    grain,
    interpolate,
    rasterise,
    rotate,
    unit,
    vertex_normals,
)
from data.synthetic.rendered.skin import EYE, Look, Pixels, draw_look, paint_eyes, paint_head
from data.system.progress import follow

LASHES = REGIONS.index("lashes")
# How much light reaches what is not skin: mouth, tongue, teeth, (lashes,) eyeballs.
_INSIDE = np.array([1, 0.3, 0.5, 0.65, 0.55, 1, 0.75], np.float32)


@dataclass(frozen=True)
class Description:
    """What is pictured, for tables by group and as ground truth of the head's pose."""

    identity: str
    years: float
    age_group: str  # heads.AGE_GROUPS
    sex: str
    skin_tone: int  # 1 lightest .. 6 darkest
    african: float  # shares of ancestry
    asian: float
    caucasian: float
    yaw: float  # degrees; see camera.Pose
    pitch: float
    roll: float
    jaw_open: float  # 0 .. 1
    eyes_shut: float  # 0 .. 1, the mean of both
    accessories: str  # separated by ", "
    seen_yaw: float  # degrees; see camera.Camera.seen_turn
    seen_pitch: float
    seen_roll: float


@dataclass(frozen=True)
class RenderedFaces:
    """Pictures uint8 (N, 96, 96), key points float32 (N, K, 2) in pixels, N descriptions."""

    pictures: np.ndarray
    key_points: np.ndarray
    names: tuple[str, ...]
    descriptions: list[Description]

    def take(self, part: slice) -> RenderedFaces:
        """Some of the faces."""
        pictures, points = self.pictures[part], self.key_points[part]
        return RenderedFaces(pictures, points, self.names, self.descriptions[part])


@lru_cache(maxsize=1)
def _solid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of head and eyeballs, their regions, and the attributes of the vertices.

    The attributes are places on the neutral head, then the first four of `Heads.paint`; an
    eyeball's are its places.
    """
    heads, (ball, around) = load_heads(), ball_mesh()
    solid = heads.region != LASHES
    count = len(heads.neutral)
    triangles = [heads.triangles[solid], around + count, around + count + len(ball)]
    regions = [heads.region[solid], np.full(2 * len(around), EYE, np.uint8)]
    head = np.concatenate([heads.neutral, heads.paint[:, :4]], 1)
    eye = np.zeros((2 * len(ball), head.shape[1]), np.float32)
    eye[:, 6] = 1
    attributes = np.concatenate([head, eye]).astype(np.float32)
    return np.concatenate(triangles), np.concatenate(regions), attributes


class _Subject:
    """One person's head, ready to be drawn."""

    def __init__(self, person: Person, expression: Expression, brows: dict[str, Brow]) -> None:
        self.heads: Heads = load_heads()
        rest = shape_head(person)
        self.eyes: dict[str, Eyeball] = eyeballs(rest, expression)
        self.vertices = express(rest, expression)
        self.brows, self.smile = brows, expression.smile
        ball = ball_mesh()[0]
        balls = [eye.centre + eye.radius * ball for eye in self.eyes.values()]
        self.all_vertices = np.concatenate([self.vertices, *balls]).astype(np.float32)
        # What is worn lies along the skin's normals.
        self.normals = vertex_normals(self.vertices, self.heads.triangles[self.heads.region == 0])
        turning = np.ones(2 * len(ball), np.float32)
        self.turning = np.concatenate([self.heads.turning, turning])


def _draw_head(
    scene: Scene,
    subject: _Subject,
    look: Look,
    hair: Hair,
    hat: accessories.Hat | None,
    rng: np.random.Generator,
) -> None:
    """Head, neck and shoulders, painted and lit, over the background; the hat casts a shadow."""
    triangles, regions, attributes = _solid()
    light = scene.light
    seen = scene.camera.turn(subject.all_vertices, subject.turning)
    flat = scene.camera.canvas(seen)
    hit, found, weights, depth = rasterise(flat, seen[:, 2], triangles, CANVAS)
    normals = vertex_normals(seen, triangles)
    table = np.concatenate([attributes, normals], 1)
    corners = triangles[found]
    at = interpolate(table, corners, weights)
    x, y, z, lips, lids, ear, sky = np.ascontiguousarray(at[:, :7].T)
    normal, region = unit(at[:, 7:]), regions[found]
    pixels = Pixels(x, y, z, lips, lids, ear, region)
    eye = np.flatnonzero(region == EYE)
    on_eye = interpolate(subject.all_vertices, corners[eye], weights[eye])
    paint = paint_head(pixels, look, subject.brows, subject.smile, rng)
    paint[eye] = paint_eyes(on_eye, look, subject.eyes, rng)
    paint = paint_scalp(pixels, paint, look, hair, rng.uniform(0.3, 1.2))
    paint = _paint_clothes(pixels, paint, rng)
    casters, cast = seen, triangles[regions == 0]
    if hat and hat.brim:
        brim, around = hat.brim
        cast = np.concatenate([cast, around + len(seen), around[:, ::-1] + len(seen)])
        casters = np.concatenate([seen, scene.camera.turn(brim)])
    shadow_map = ShadowMap(light, casters, cast)
    shadow = shadow_map.cover(scene.camera.unproject(hit, depth) + 0.25 * normal)
    sky = np.where(region == 0, np.maximum(sky, 0.55 * ramp(lips, 0.1)), _INSIDE[region])
    wrap = 0.15
    bright = shade(light, normal, sky**light.hollow, shadow, wrap) * (0.45 + 0.55 * sky)
    value = paint * bright
    skin = region == 0
    value += np.where(skin, light.gloss * highlight(light, normal, light.shine), 0) * (1 - shadow)
    teeth = np.flatnonzero((region >= REGIONS.index("upper_teeth")) & (region != EYE))
    value[teeth] += 0.2 * highlight(light, normal[teeth], 60) * (1 - 0.7 * shadow[teeth])
    value[eye] += catchlights(light, subject.eyes, on_eye, scene.camera.rotation, shadow[eye])
    scene.value[hit] = np.clip(value, 0, 3)
    scene.depth[hit] = depth


def _paint_clothes(p: Pixels, paint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cloth from the neckline down."""
    u = rng.uniform
    neckline = u(-15.5, -11.5) - u(0, 1.2) * np.exp(-np.square(p.x / u(2, 6))) * u(0, 3) * (p.z > 0)
    cover = ramp(neckline - p.y - 0.25 * np.minimum(p.z, 0), 0.4) * (p.region == 0)
    weave = grain(2, p.x / 20, p.y / 20 + p.z / 20, rng.random(2, np.float32))
    tone = u(0.01, 0.85) * (1 + u(0, 0.15) * weave)
    if chance(rng, 0.25):
        tone = tone * (1 + 0.5 * np.clip(np.sin(p.y * u(1.5, 5)) * 4, -1, 1) * u(0.2, 1))
    return mix(paint, np.maximum(tone, 0.005), cover)


def _draw_lashes(scene: Scene, subject: _Subject, look: Look, rng: np.random.Generator) -> None:
    """The lashes' cards: dark at the root, parted towards the tip."""
    heads = subject.heads
    strength = min(rng.uniform(0.2, 0.95) + 0.35 * look.make_up, 1)
    offset = rng.random(2, np.float32)

    def paint(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hairs = np.clip(0.7 + 0.5 * grain(2, a[:, 0] / 3, a[:, 1] / 20, offset), 0, 1)
        upper = np.where(a[:, 1] > -0.05, 1, 0.35)
        return np.full(len(a), 0.01), strength * upper * hairs * np.clip(1.1 - a[:, 2], 0, 1)

    attributes = np.column_stack([heads.neutral[:, :2], heads.paint[:, 4]]).astype(np.float32)
    cards = heads.triangles[heads.region == LASHES]
    scene.layer(subject.vertices, cards, attributes, paint, sheen=0, bias=0.05, glass=True)


def _draw_accessories(
    scene: Scene,
    subject: _Subject,
    look: Look,
    worn: Sequence[str],
    hat: accessories.Hat | None,
    rng: np.random.Generator,
) -> None:
    """Everything that a face wears, or that is in front of it."""
    heads, vertices, normals = subject.heads, subject.vertices, subject.normals
    for name in worn:
        if name.endswith("glasses"):
            accessories.draw_glasses(scene, heads, vertices, name.startswith("dark"), rng)
        elif name == "mask":
            accessories.draw_mask(scene, heads, vertices, rng)
        elif name == "hand":
            accessories.draw_hand(scene, heads, vertices, look, rng)
        elif hat:
            accessories.draw_hat(scene, heads, vertices, normals, hat, rng)


def render_face(
    seed: int, index: int, places: Places, pose: Pose | None = None
) -> tuple[np.ndarray, np.ndarray, Description]:
    """Face `index` of `seed`: picture (96, 96) uint8, key points (K, 2) float32, description.

    It depends on seed and index alone; which points are asked for does not change the picture.
    `pose` replaces the random one: a head may also be seen from behind.
    """
    # Each part has random numbers of its own, so that a change in one leaves the others alone.
    who, does, pose_rng, look_rng, hair_rng, light_rng, paint_rng, wears, camera_rng = (
        np.random.default_rng((seed, index)).spawn(9)
    )
    pose = pose or draw_pose(pose_rng)
    person, expression = draw_person(who), draw_expression(does, camera_direction(pose))
    subject = _Subject(person, expression, draw_brows(who))
    look, light = draw_look(person, look_rng), draw_light(light_rng)
    hair = draw_hair(person, look, hair_rng)
    spots = find_places(subject.vertices, subject.brows, subject.eyes)
    kaggle = find_points(read_places("15"), subject.vertices, spots)
    camera = Camera(pose, kaggle, camera_rng)
    scene = Scene(camera, light, draw_background(camera_rng))
    worn = accessories.draw_accessories(wears, person.years < 12)
    gear = [name for name in worn if name in accessories.HEADGEAR]
    hat = None
    if gear:
        hat = accessories.make_hat(subject.heads, subject.vertices, gear[0], wears)
    _draw_head(scene, subject, look, hair, hat, paint_rng)
    _draw_lashes(scene, subject, look, paint_rng)
    if not hat:
        draw_shell(scene, subject.heads, subject.vertices, subject.normals, look, hair)
    if hair.long and "hood" not in gear:
        draw_curtain(scene, subject.heads, subject.vertices, look, hair, hair_rng)
    _draw_accessories(scene, subject, look, worn, hat, wears)
    picture = photograph(scene.value.reshape(CANVAS, CANVAS), camera_rng)
    points = find_points(places, subject.vertices, spots)
    points = camera.pixels(camera.turn(points, turning_of(places))).astype(np.float32)
    seen = camera.seen_turn(kaggle)
    return picture, points, _describe(seed, index, person, expression, pose, seen, look, worn)


def draw_neutral(places: Places, yaw: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean adult's head, unpainted: picture (size, size) uint8 and points (K, 2) in it."""
    heads, calm = load_heads(), Expression({}, (0.0, 0.0))
    brows = draw_brows(np.random.default_rng(0))
    ball = ball_mesh()[0]
    eyes = eyeballs(heads.neutral, calm)
    balls = [eye.centre + eye.radius * ball for eye in eyes.values()]
    turn = rotation(yaw, 0.0, 0.0)

    def project(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places (N, 3) turned, and in the picture."""
        seen = rotate((places - [0, -1.5, 0]).astype(np.float32), turn)
        return seen, np.stack([seen[:, 0], -seen[:, 1]], 1) * (size / 26) + size / 2

    seen, flat = project(np.concatenate([heads.neutral, *balls]))
    triangles, _, _ = _solid()
    hit, found, weights, _ = rasterise(flat, seen[:, 2], triangles, size)
    normal = unit(interpolate(vertex_normals(seen, triangles), triangles[found], weights))
    value = np.zeros(size * size)
    lamp = unit(np.array([0.3, 0.4, 0.85], np.float32))
    value[hit] = 50 + 190 * np.clip(np.einsum("nk,k->n", normal, lamp), 0, 1)
    points = find_points(places, heads.neutral, find_places(heads.neutral, brows, eyes))
    return value.reshape(size, size).astype(np.uint8), project(points)[1]


def _describe(
    seed: int,
    index: int,
    person: Person,
    expression: Expression,
    pose: Pose,
    seen: tuple[float, float, float],
    look: Look,
    worn: Sequence[str],
) -> Description:
    """The face's description, out of all that was drawn at random."""
    units = expression.units
    shut = [units.get(f"eyeBlink{side}", 0.0) for side in ("Left", "Right")]
    shares = dict(zip(ANCESTRIES, np.round(person.ancestry, 3).tolist(), strict=True))
    turns = pose.yaw, pose.pitch, pose.roll, *seen
    yaw, pitch, roll, *as_seen = (round(float(np.degrees(turn)), 2) for turn in turns)
    return Description(
        identity=f"{seed}-{index}",
        years=round(person.years, 1),
        age_group=person.group,
        sex=person.sex,
        skin_tone=look.tone,
        **shares,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        jaw_open=round(float(np.clip(units.get("jawOpen", 0), 0, 1)), 3),
        eyes_shut=round(float(np.clip(np.mean(shut), 0, 1)), 3),
        accessories=", ".join(worn),
        seen_yaw=as_seen[0],
        seen_pitch=as_seen[1],
        seen_roll=as_seen[2],
    )


def render_faces(
    count: int,
    seed: int = 0,
    points: str | Path | Places = "15",
    indices: Sequence[int] | None = None,
    workers: int | None = None,
) -> RenderedFaces:
    """Render `count` faces, or only those at `indices`, and show progress.

    `points` is 15, 68, a file of places (points.py) or what `read_places` returned; hidden key
    points are included, and so are those outside the picture. Face i depends on seed and i alone;
    `workers` (processes, default one per core) changes only how long it takes.
    Raises InputError for a file of places that cannot be used.
    """
    places = points if isinstance(points, Places) else read_places(points)
    wanted = range(count) if indices is None else indices
    pictures = np.empty((len(wanted), SIZE, SIZE), np.uint8)
    key_points = np.empty((len(wanted), len(places.names), 2), np.float32)
    descriptions = []
    faces = iter(_rendered(seed, wanted, places, workers))
    for i in follow(range(len(wanted)), "rendering faces"):
        pictures[i], key_points[i], description = next(faces)
        descriptions.append(description)
    return RenderedFaces(pictures, key_points, places.names, descriptions)


def _rendered(
    seed: int, wanted: Sequence[int], places: Places, workers: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, Description]]:
    """The faces in their order, rendered here or by several processes."""
    if workers is None:
        workers = min(os.cpu_count() or 1, len(wanted) // 16)
    if workers <= 1:
        yield from (render_face(seed, index, places) for index in wanted)
        return
    from joblib import Parallel, delayed

    jobs: Any = (delayed(render_face)(seed, index, places) for index in wanted)
    yield from Parallel(n_jobs=workers, return_as="generator", batch_size=8)(jobs)
