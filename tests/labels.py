"""Photos with labelled faces for the tests of the label formats."""

import numpy as np
from PIL import Image

from models.detect.search import Detections

SCALE = 2.0  # pixels of a photo per pixel of a face's 96x96 picture


def make_photos(folder, faces, per_photo=2):
    """Paste faces side by side into JPEGs of a wall, `per_photo` into each.

    Returns the photos' paths, and each one's key points (n, 15, 2) in its pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    side = int(96 * SCALE)
    paths, points = [], []
    for first in range(0, len(faces.rows), per_photo):
        some = range(first, min(first + per_photo, len(faces.rows)))
        wall = np.full((side + 90, (side + 60) * per_photo + 40), 120, np.uint8)
        found = []
        for i, face in enumerate(some):
            x, y = 20 + i * (side + 60) + rng.integers(0, 30), rng.integers(0, 80)
            large = Image.fromarray(faces.pictures[face]).resize(
                (side, side), Image.Resampling.BICUBIC
            )
            wall[y : y + side, x : x + side] = np.asarray(large)
            found.append((faces.key_points[face].astype(float) + 0.5) * SCALE - 0.5 + (x, y))
        path = folder / f"photo_{len(paths)}.jpg"
        Image.fromarray(wall).convert("RGB").save(path, quality=95)
        paths.append(path)
        points.append(np.array(found))
    return paths, points


def detections(points, names, spread=1.0):
    """What a search would have found: faces with these points (n, K, 2) and spreads."""
    return Detections(points, np.full(points.shape[:2], 1.0) * spread, names, None)


def write_pts(path, points):
    """Write points (K, 2) as 300-W does: counted from 1."""
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points + 1)
    path.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n")
