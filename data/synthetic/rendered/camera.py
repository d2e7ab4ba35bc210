"""The pose, the camera and the canvas that everything is drawn on, nearest things last.

Camera frame: centimetres, x to the picture's right, y up, z towards the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE
from data.synthetic.curves import bell, chance, mix
from data.synthetic.rendered.light import Light, shade
from data.synthetic.rendered.photograph import CANVAS, ZOOM
from data.synthetic.rendered.raster import interpolate, rasterise, rotate, unit, vertex_normals

NECK = np.array([0, -12, -5], np.float32)  # the head turns about this place


@dataclass(frozen=True)
class Pose:
    """How the head is turned, in radians.

    yaw > 0 turns the face to the picture's right, pitch > 0 looks down, roll > 0 tilts the head
    clockwise in the picture.
    """

    yaw: float
    pitch: float
    roll: float
    body: tuple[float, float, float]  # the same for the shoulders


def draw_pose(rng: np.random.Generator) -> Pose:
    """Random: nearly half frontal, a quarter at any yaw up to 85 degrees.

    7 % are at any roll up to 80 degrees.
    """
    n, u = rng.normal, rng.uniform
    kind = rng.random()
    yaw = n(0, 8) if kind < 0.45 else n(0, 25) if kind < 0.75 else u(-85, 85)
    pitch = n(1, 8) if chance(rng, 0.6) else n(0, 18)
    kind = rng.random()
    roll = n(0, 3.5) if kind < 0.55 else n(0, 16) if kind < 0.93 else u(-80, 80)
    yaw, pitch, roll = np.clip([yaw, pitch, roll], [-85, -40, -80], [85, 40, 80])
    # The neck bends by 30 degrees at most; whose head is tilted further lies.
    leaning = roll - np.clip(roll, -30, 30)
    body = [np.clip(0.35 * yaw + n(0, 12), -50, 50), n(0, 4), leaning + n(0, 4)]
    yaw, pitch, roll, *body = np.radians([yaw, pitch, roll, *body]).tolist()
    return Pose(yaw, pitch, roll, (body[0], body[1], body[2]))


def camera_direction(pose: Pose) -> tuple[float, float]:
    """The direction of a distant camera in the head's frame: angles in radians to the subject's
    left and up."""
    x, y, z = rotation(pose.yaw, pose.pitch, pose.roll)[2]
    return float(np.arctan2(x, z)), float(np.arcsin(np.clip(y, -1, 1)))


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The matrix (3, 3) that turns a head: it nods (pitch), turns (yaw), then is tilted (roll)."""
    (cy, cp, cr), (sy, sp, sr) = (f([yaw, pitch, roll]) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


class Camera:
    """Where places of the head frame are in the picture."""

    def __init__(self, pose: Pose, points: np.ndarray, rng: np.random.Generator) -> None:
        """Framed so that Kaggle's 15 points (15, 3) lie as in Kaggle's faces, with jitter.

        The points of a strongly turned face lie closer together. Cropping by them enlarges the
        face, cropping by the head does not: anything in between occurs.
        """
        self.rotation = rotation(pose.yaw, pose.pitch, pose.roll)
        self.body = rotation(*pose.body)
        self.distance = float(np.exp(rng.uniform(np.log(32), np.log(220))))
        flat = self._project(self.turn(points))
        middle = flat.mean(0)
        spread, full = (
            np.sqrt(np.square(seen - seen.mean(0)).sum(1).mean())
            for seen in (flat, self._project(points))
        )
        share = rng.uniform(0.3, 0.95)
        spread = spread**share * full ** (1 - share)
        self.scale = float(26.5 / spread * np.exp(rng.normal(0, 0.06)))
        eyes = flat[[LEFT_EYE, RIGHT_EYE]].mean(0)
        anchor = 0.6 * eyes + 0.4 * middle
        above = 6.8 * np.array([np.sin(pose.roll), -np.cos(pose.roll)])  # from the middle, pixels
        aim = 48.0 + above + rng.normal(0, 1.5, 2)
        self.shift = (aim - self.scale * anchor).astype(np.float32)
        assert len(points) == len(KEY_POINTS)

    def turn(self, places: np.ndarray, turning: np.ndarray | None = None) -> np.ndarray:
        """Places (N, 3) of the head frame in the camera frame; `turning` as in heads.Heads."""
        relative = (places - NECK).astype(np.float32)
        turned = rotate(relative, self.rotation)
        if turning is not None:
            still = np.flatnonzero(turning < 1)
            body = rotate(relative[still], self.body)
            turned[still] = mix(body, turned[still], turning[still, None])
        return turned + NECK

    def seen_turn(self, points: np.ndarray) -> tuple[float, float, float]:
        """Yaw, pitch and roll, as of `Pose`, relative to the line from the camera to the middle of
        `points` (N, 3): how the head looks in a crop. Near the camera this differs."""
        sight = np.array([0, 0, self.distance]) - self.turn(points).mean(0)
        x, y, z = sight / np.linalg.norm(sight)
        # The smallest rotation that takes the line to the camera's axis.
        toward = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
        turned = (np.eye(3) + toward + toward @ toward / (1 + z)) @ self.rotation
        yaw = np.arcsin(np.clip(-turned[2, 0], -1, 1))
        pitch = np.arctan2(turned[2, 1], turned[2, 2])
        return float(yaw), float(pitch), float(-np.arctan2(turned[1, 0], turned[0, 0]))

    def _project(self, seen: np.ndarray) -> np.ndarray:
        """Camera places (N, 3) in perspective, y down: (N, 2) in centimetres."""
        shrink = self.distance / (self.distance - seen[:, 2:])
        return np.stack([seen[:, 0], -seen[:, 1]], 1) * shrink

    def pixels(self, seen: np.ndarray) -> np.ndarray:
        """Camera places (N, 3) in pixels of the 96x96 picture, (N, 2)."""
        return self.scale * self._project(seen) + self.shift

    def unproject(self, pixel: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """The camera places (N, 3) that the canvas shows at depths (N,): `canvas` backwards."""
        row, column = np.divmod(pixel, CANVAS)
        flat = (np.stack([column, row], 1).astype(np.float32) + 0.5) / ZOOM - 0.5 - self.shift
        flat *= ((self.distance - depth) / (self.distance * self.scale))[:, None]
        return np.stack([flat[:, 0], -flat[:, 1], depth], 1)

    def canvas(self, seen: np.ndarray) -> np.ndarray:
        """Camera places (N, 3) in pixels of the canvas, (N, 2)."""
        return ZOOM * (self.pixels(seen) + 0.5) - 0.5


Paint = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Scene:
    """The canvas, with the depth of what is drawn on it."""

    def __init__(self, camera: Camera, light: Light, background: np.ndarray) -> None:
        self.camera, self.light = camera, light
        self.value = background.ravel().copy()
        self.depth = np.full(CANVAS * CANVAS, -1e9, np.float32)

    def layer(
        self,
        vertices: np.ndarray,
        triangles: np.ndarray,
        attributes: np.ndarray,
        paint: Paint,
        *,
        sheen: float = 0.25,
        glass: bool = False,
        bias: float = 0.0,
        smooth: bool = True,
        normals: np.ndarray | None = None,
    ) -> None:
        """Draw a mesh (V, 3) of the head frame over what is farther away.

        `paint` takes the attributes (N, C) of the pixels seen and returns their albedo and their
        opacity, both (N,). `glass` leaves the depth as it is, `bias` draws the mesh even over what
        lies up to so many centimetres in front of it. Both sides of the mesh are seen.
        `normals` (V, 3) of the head frame replace the mesh's own.
        """
        seen = self.camera.turn(vertices)
        hit, found, weights, depth = rasterise(
            self.camera.canvas(seen), seen[:, 2], triangles, CANVAS, cull=False
        )
        nearer = np.flatnonzero(depth + bias > self.depth[hit])
        if not len(nearer):
            return
        hit, weights, depth = hit[nearer], weights[nearer], depth[nearer]
        corners = triangles[found[nearer]]
        if normals is None:
            normals = vertex_normals(seen, triangles)
        else:
            normals = rotate(normals, self.camera.rotation)
        normal = unit(interpolate(normals, corners, weights))
        normal *= np.where(normal[:, 2:] < 0, -1, 1)
        value, cover = paint(interpolate(attributes, corners, weights))
        bright = shade(self.light, normal, wrap=0.4 if smooth else 0.1)
        toward = np.einsum(
            "nk,k->n", normal, unit(self.light.ways[0] + np.array([0, 0, 1], np.float32))
        )
        bright = bright + sheen * bell(toward - 0.9, 0.12) * self.light.power[0]
        self.value[hit] = mix(self.value[hit], value * bright, cover)
        if not glass:
            self.depth[hit] = np.where(cover > 0.5, depth, self.depth[hit])


def ribbon(path: np.ndarray, side: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """A strip along a path (N, 3), +-half * side (N, 3): vertices and triangles."""
    n = len(path)
    i = np.arange(n - 1)
    vertices = np.concatenate([path - half * side, path + half * side]).astype(np.float32)
    return vertices, np.concatenate(
        [np.stack([i, i + 1, i + n], 1), np.stack([i + 1, i + n + 1, i + n], 1)]
    ).astype(np.int32)


def sheet(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """Triangles of a grid of rows x columns vertices; `closed` joins the last and first column."""
    wide = columns if closed else columns - 1
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(wide), indexing="ij")
    a, b = (i * columns + j).ravel(), (i * columns + (j + 1) % columns).ravel()
    return np.concatenate(
        [np.stack([a, b, a + columns], 1), np.stack([b, b + columns, a + columns], 1)]
    ).astype(np.int32)
