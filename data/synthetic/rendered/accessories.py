"""What covers parts of a face: glasses, hats and hoods, masks, hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.synthetic.curves import bell, chance, ramp
from data.synthetic.rendered.camera import Paint, Scene, ribbon, sheet
from data.synthetic.rendered.hair import AXIS
from data.synthetic.rendered.heads import Heads
from data.synthetic.rendered.raster import box_blur, grain, unit
from data.synthetic.rendered.skin import Look

HEADGEAR = ("cap", "hat", "beanie", "hood")


def _plain(tone: float) -> Paint:
    """A paint of one tone that covers all."""
    return lambda a: (np.full(len(a), tone, np.float32), np.ones(len(a), np.float32))


def draw_accessories(rng: np.random.Generator, looks_like_child: bool) -> tuple[str, ...]:
    """Which accessories a face has."""
    u = rng.random(4)
    found = []
    clear, dark = (0.12, 0.03) if looks_like_child else (0.22, 0.08)
    if u[0] < clear:
        found.append("clear glasses")
    elif u[0] < clear + dark:
        found.append("dark glasses")
    if u[1] < 0.12:
        found.append(str(rng.choice(HEADGEAR)))
    if u[2] < 0.05:
        found.append("mask")
    if u[3] < 0.06:
        found.append("hand")
    return tuple(found)


def draw_glasses(
    scene: Scene, heads: Heads, vertices: np.ndarray, dark: bool, rng: np.random.Generator
) -> None:
    """Lenses, rims, bridge and arms, sitting on the nose."""
    u, n = rng.uniform, rng.normal
    place = {name: vertices[v] for name, v in heads.places.items()}
    half_w, half_h = u(2.0, 2.9), u(1.3, 2.5)
    rim = np.exp(u(np.log(0.05), np.log(0.35)))
    frame = u(0.003, 0.05) if chance(rng, 0.75) else u(0.1, 0.8)
    corners = [f"{s}_eye_{c}_corner" for s in ("left", "right") for c in ("inner", "outer")]
    eyes = np.mean([place[name] for name in corners], 0)
    middle = max(np.mean([abs(place[name][0]) for name in corners]), half_w + 0.35)
    slide = u(-0.2, 1.2) if chance(rng, 0.85) else u(1.2, 2.2)  # now and then far down the nose
    y = eyes[1] - slide * 0.6
    lid = max(place[f"{s}_upper_lid_middle"][2] for s in ("left", "right"))
    front = max(place["nose_bridge_2"][2] + 0.15, lid + 0.9)
    cover = u(0.75, 1) if dark else u(0, 0.08)
    tone = u(0.002, 0.04) if dark else u(0.05, 0.6)
    glare = u(0.1, 0.9) * chance(rng, 0.4)
    mirrored = dark and chance(rng, 0.35)  # they show the sky, the ground and what stands between
    sky, ground, horizon = u(0.2, 1.1), u(0.02, 0.3), n(0, 0.5)
    edge_soft, arch, offset = u(0.05, 0.8), n(0, 0.12), rng.random(2, np.float32)
    glare_at, glare_wide = n(0, 1), u(0.15, 1.2)
    power, tilt, wrap = u(2, 5), u(0, 0.15), u(0.5, 1)
    turn = np.linspace(0, 2 * np.pi, 49)
    cos, sin = np.cos(turn), np.sin(turn)
    round_ = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power)
    fan = np.stack([np.arange(48), np.arange(1, 49), np.full(48, 49)], 1).astype(np.int32)
    widest = np.percentile(np.abs(vertices[heads.paint[:, 2] > 0.5, 0]), 20) - 0.2
    half_rims = chance(rng, 0.12)
    for sign in (1, -1):
        x0 = sign * middle
        edge = np.stack([x0 + half_w * round_ * cos, y + half_h * round_ * sin, 0 * cos], 1)
        edge[:, 2] = front - 0.035 * wrap * np.maximum(np.abs(edge[:, 0]) - 1, 0) ** 2
        edge[:, 2] += tilt * (edge[:, 1] - eyes[1])

        def lens(a: np.ndarray, x0: float = x0) -> tuple[np.ndarray, np.ndarray]:
            streak = a[:, 0] - x0 - glare_at + 0.5 * (a[:, 1] - y)
            shine = glare * bell(streak, glare_wide)
            shaded = cover * (0.75 + 0.25 * ramp(a[:, 1] - y, 3))
            if mirrored:
                height = a[:, 1] - y - horizon - arch * np.square(a[:, 0] - x0)
                seen = ground + (sky - ground) * ramp(height, edge_soft)
                seen = seen * (1 + 0.3 * grain(0, a[:, 0] / 12, a[:, 1] / 12, offset))
                return np.maximum(seen, 0.005), np.full(len(a), 0.95)
            return np.where(shine > 0.3, 1.5, tone), np.clip(shaded + shine, 0, 1)

        disc = np.concatenate([edge, edge.mean(0, keepdims=True)]).astype(np.float32)
        scene.layer(disc, fan, disc, lens, glass=True, smooth=False)
        path = edge[:25] if half_rims else edge
        out = unit(path - edge.mean(0))
        scene.layer(*_with_self(ribbon(path, out, rim)), _plain(frame))
        corner = np.array([x0 + sign * half_w, y + 0.35 * half_h, edge[:, 2].min()])
        ear = np.array([sign * widest, y + 0.3, AXIS + 1.0])
        bend = (corner + ear) / 2 + [sign * 0.5, 0, 0]
        arm = np.array([corner, bend, ear])
        up = np.tile([0, 1.0, 0], (3, 1))
        scene.layer(*_with_self(ribbon(arm, up, max(rim, 0.12) * 1.3)), _plain(frame))
    x = np.linspace(-1, 1, 9)
    bridge = np.stack([x * (middle - half_w), y + 0.3 * half_h + 0.25 * (1 - x**2), 0 * x], 1)
    bridge[:, 2] = front + 0.1
    up = np.tile([0, 1.0, 0], (9, 1))
    scene.layer(*_with_self(ribbon(bridge, up, rim * 1.2)), _plain(frame))


def _with_self(mesh: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles, and the vertices once more as what is painted by."""
    return mesh[0], mesh[1], mesh[0]


@dataclass(frozen=True)
class Hat:
    """Headgear: a shell over the scalp, and a brim or visor if it has one."""

    kind: str  # cap, hat, beanie or hood
    line: np.ndarray  # (V,) the height from which it covers the neutral head, cm
    lift: np.ndarray  # (V,) how far it stands off
    tone: float
    brim: tuple[np.ndarray, np.ndarray] | None  # vertices and triangles


def make_hat(heads: Heads, vertices: np.ndarray, kind: str, rng: np.random.Generator) -> Hat:
    """A random cap with a visor, hat with a brim, beanie, or hood or scarf round the face."""
    u, n = rng.uniform, rng.normal
    x, y, z = heads.neutral.T
    low = u(2.2, 5.5)
    line = low + n(0, 0.1) * x - 0.05 * (z - 5) * u(-1, 2)
    if kind == "hood":  # open in front, down to below the chin
        around = np.degrees(np.abs(np.arctan2(x, z - AXIS)))
        line = np.where((around > u(48, 68)) | (y < -11.5), -30, line)
    depth = np.maximum(y - line + 0.3, 0)
    lift = (u(0.3, 1.4) + u(0, 0.6) * np.minimum(depth, 5)) * (depth > 0)
    brim = _make_brim(vertices, kind == "hat", low, rng) if kind in ("cap", "hat") else None
    return Hat(kind, line.astype(np.float32), lift.astype(np.float32), u(0.01, 0.8), brim)


def _make_brim(
    vertices: np.ndarray, whole: bool, low: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A hat's brim all round, or a cap's visor: vertices and triangles."""
    u = rng.uniform
    turn = np.radians(np.linspace(-180, 180, 61) if whole else np.linspace(-62, 62, 31))
    length, droop = u(2.5, 6), u(-0.1, 0.4)
    top = (np.abs(vertices[:, 1] - low) < 2) & (vertices[:, 2] > AXIS)
    wide = np.abs(vertices[top, 0]).max(initial=6) + 0.3
    deep = vertices[top, 2].max(initial=6) - AXIS + 0.3
    inner = np.stack([wide * np.sin(turn), np.full(len(turn), low), AXIS + deep * np.cos(turn)], 1)
    reach = length * (np.ones(len(turn)) if whole else np.cos(turn * 1.4) ** 0.5)
    way = np.stack([np.sin(turn), np.full(len(turn), -droop), np.cos(turn)], 1)
    middle = inner + 0.5 * reach[:, None] * way + [0, 0.3, 0]
    mesh = np.concatenate([inner, middle, inner + reach[:, None] * way]).astype(np.float32)
    return mesh, sheet(3, len(turn))


def draw_hat(
    scene: Scene,
    heads: Heads,
    vertices: np.ndarray,
    normals: np.ndarray,
    hat: Hat,
    rng: np.random.Generator,
) -> None:
    """Draw the shell, then the brim."""
    u = rng.uniform
    solid = heads.triangles[heads.region == 0]
    solid = solid[(hat.lift[solid] > 0).any(1)]
    if hat.kind != "hood":
        solid = solid[(heads.neutral[solid][:, :, 1] > -6).all(1)]
    raised = vertices + hat.lift[:, None] * (normals + np.array([0, 0.2, 0], np.float32))
    stripe, knit = u(0, 0.3) * chance(rng, 0.5), u(0.05, 0.25)
    offset = rng.random(2, np.float32)

    def cloth(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weave = grain(2, np.arctan2(a[:, 0], a[:, 2] - AXIS), a[:, 1] / 12, offset)
        value = hat.tone * (1 + knit * weave + stripe * np.sin(a[:, 1] * 4))
        return np.maximum(value, 0.004), ramp(a[:, 3], 0.15)

    attributes = np.column_stack([heads.neutral, heads.neutral[:, 1] - hat.line])
    scene.layer(raised, solid, attributes, cloth, sheen=0.1)
    if hat.brim:
        scene.layer(*_with_self(hat.brim), _plain(hat.tone * u(0.5, 1)), sheen=0.1)


def draw_mask(scene: Scene, heads: Heads, vertices: np.ndarray, rng: np.random.Generator) -> None:
    """A mask of cloth from the nose's bridge, or below the nose, to under the chin."""
    u = rng.uniform
    place = {name: vertices[v] for name, v in heads.places.items()}
    nose, chin, bridge = place["nose_tip"], place["chin"], place["nose_bridge_2"]
    low = place["nose_base"] - [0, 0.4, 0]
    top = bridge + u(0.1, 0.9) * (nose - bridge) if chance(rng, 0.85) else low
    cheek, jaw = (
        (np.ptp([place[f"{side}_jaw_{k}"][0] for side in ("left", "right")]) / 2) for k in (3, 6)
    )
    jaw_y = place["left_jaw_6"][1]
    # The middle line from the top over nose and chin to below it, and how wide the cloth is there.
    line = np.array([top, nose if top[1] > nose[1] else low, chin, chin - [0, 1.2, 2.0]])
    line[:3, 2] += [0.25, 0.4, 0.5]
    rows, columns = 14, 25
    y = np.linspace(line[0, 1], line[3, 1], rows)
    front = np.interp(-y, -line[:, 1], line[:, 2])
    wide = np.interp(-y, [-top[1], -jaw_y, -line[3, 1]], [cheek - 0.6, jaw, jaw - 2])
    across = np.linspace(-1, 1, columns)
    x = wide[:, None] * across
    sag = 0.9 * np.abs(across) ** 2 * u(0, 1.5)  # the upper edge falls towards the ears
    y = y[:, None] - sag * np.linspace(1, -0.3, rows)[:, None]
    # Cloth lies on the cheeks and spans what is between nose, mouth and chin.
    outside = (heads.paint[:, 2] < 0.5) & (heads.paint[:, 0] < 0.1) & (heads.neutral[:, 2] > -1)
    outside[heads.triangles[heads.region > 0]] = False
    skin = vertices[outside & (vertices[:, 1] < top[1] + 2) & (vertices[:, 1] > chin[1])]
    gap = np.square(skin[:, 0] - x[..., None]) + np.square(skin[:, 1] - y[..., None])
    below = box_blur(skin[np.argmin(gap, 2), 2] + 0.4, 1)
    z = np.maximum(below, front[:, None] - 0.2 * np.square(x))
    mesh = np.stack([x, y, z], 2).reshape(-1, 3).astype(np.float32)
    tone, folds, offset = u(0.1, 0.85), u(0, 0.25), rng.random(2, np.float32)
    period = u(2, 4)

    def cloth(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pleat = np.clip(np.sin(a[:, 1] * period), -0.3, 1) * ramp(4.5 - np.abs(a[:, 0]), 1)
        weave = grain(2, a[:, 0] / 14, a[:, 1] / 14, offset)
        return tone * (1 - folds * pleat + 0.04 * weave), np.ones(len(a), np.float32)

    scene.layer(mesh, sheet(rows, columns), mesh, cloth, sheen=0.05, bias=0.5)


def draw_hand(
    scene: Scene, heads: Heads, vertices: np.ndarray, look: Look, rng: np.random.Generator
) -> None:
    """A hand in front of the face: a palm and four fingers, or two, from below or from the side."""
    u, n = rng.uniform, rng.normal
    spots = ["chin", "mouth_left_corner", "left_jaw_5", "nose_tip", "left_eye_outer_corner"]
    aim = vertices[heads.places[str(rng.choice(spots, p=[0.3, 0.25, 0.2, 0.15, 0.1]))]].copy()
    side = rng.choice([-1, 1])
    aim[0] *= side
    along = unit(np.array([-side * u(0.1, 1.2), u(0.3, 1.2), u(-0.1, 0.25)]))
    across = unit(np.cross(along, [0.0, 0.0, 1.0]))
    # In front of everything near it.
    aim[2] = vertices[np.hypot(*(vertices[:, :2] - aim[:2]).T) < 2.5, 2].max(initial=aim[2])
    tone = look.skin * u(0.75, 1.05)
    offset = rng.random(2, np.float32)

    def skin(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tone * (1 + 0.06 * grain(0, a[:, 0] / 12, a[:, 1] / 12, offset)), np.ones(len(a))

    palm = aim - along * u(4.5, 7) + np.array([0, 0, 1.2])
    tube = [(palm - along * 9, palm + along * 1.0, 3.6, 3.9)]
    count = int(rng.choice([1, 2, 4], p=[0.1, 0.15, 0.75]))
    for k in range(count):
        spread = (k - (count - 1) / 2) * 1.75
        root = palm + across * spread
        length = u(5.5, 7.5) - 0.5 * abs(spread)
        way = unit(along + across * spread * u(0, 0.08) + n(0, 0.05, 3))
        tube.append((root, root + way * length, 0.95, 0.72))
    for start, end, thick, thin in tube:
        mesh, triangles = _tube(start, end, thick, thin, across, flat=0.55 if thick > 2 else 0.9)
        scene.layer(mesh, triangles, mesh, skin, sheen=0.05)


def _tube(
    start: np.ndarray, end: np.ndarray, thick: float, thin: float, across: np.ndarray, flat: float
) -> tuple[np.ndarray, np.ndarray]:
    """A round-ended tube from start to end (3,): vertices and triangles."""
    rows, columns = 12, 14
    along = end - start
    deep = unit(np.cross(across, along))
    t = np.linspace(0, 1, rows)
    length = np.sqrt((along**2).sum())
    bend = np.clip((t - 1) * length / thin + 1, 0, 1)
    radius = (thick + (thin - thick) * t) * np.sqrt(np.clip(1 - bend**2, 0, 1))
    turn = np.arange(columns) * 2 * np.pi / columns
    ring = np.cos(turn)[:, None] * across + flat * np.sin(turn)[:, None] * deep
    mesh = start + t[:, None, None] * along + radius[:, None, None] * ring
    return mesh.reshape(-1, 3).astype(np.float32), sheet(rows, columns, closed=True)
