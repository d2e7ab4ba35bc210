"""Synthetic grey face pictures, 96x96, with 15 exact key points each.

The pictures stand in for Kaggle's "Facial Keypoints Detection" data where that data is missing.
Every face is a small 3-D head (head.py) of a random person (person.py): painted (paint.py,
hair.py), lit (light.py), projected and photographed (camera.py) before a background, sometimes
with something in front. The randomization is wide, so that to a network trained on these faces a
real photo is just one more variation.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from data.key_points import KEY_POINTS, SIZE
from data.synthetic.background import draw_background
from data.synthetic.camera import frame_face, photograph, rasterise, rotation_matrix, to_canvas
from data.synthetic.curves import chance
from data.synthetic.hair import paint_beard, paint_hair
from data.synthetic.head import HeadSurface
from data.synthetic.light import draw_light, shade
from data.synthetic.occluders import draw_glasses, draw_occluder
from data.synthetic.paint import paint_brows, paint_eyes, paint_mouth, paint_skin
from data.synthetic.person import Person
from data.system.progress import follow

Face = tuple[np.ndarray, np.ndarray]  # picture (96, 96) uint8 and key points (15, 2) float32


def draw_face(seed: int, index: int) -> Face:
    """The picture (96, 96), uint8, of face `index` of `seed`, and its key points (15, 2)."""
    rng = np.random.default_rng((seed, index))
    person = Person(rng)
    light = draw_light(rng)
    head = HeadSurface(person)
    points = head.key_points(person)
    rotation = rotation_matrix(person)
    scale, shift = frame_face(points, rotation, rng)
    paint_skin(head, person, rng)
    paint_eyes(head, person, light, rng)
    paint_brows(head, person, rng)
    paint_mouth(head, person)
    paint_beard(head, person, rng)
    off = paint_hair(head, person, rng)
    value, x, y = shade(head, off, rotation, person, light)
    canvas = draw_background(person, rotation, scale, shift, rng)
    x, y = to_canvas(scale * x + shift[0]), to_canvas(scale * y + shift[1])
    canvas = rasterise(value, x, y, person, canvas)
    if person.glasses:
        depth = points[:2, 2].mean()
        canvas = draw_glasses(canvas, person, rotation, scale, shift, depth, rng)
    if chance(rng, 0.03):
        canvas = draw_occluder(canvas, person, rng)
    flat = scale * (points @ rotation[:2].T) + shift
    return photograph(canvas, rng), flat.astype(np.float32)


def make_faces(
    count: int,
    seed: int = 0,
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> Face:
    """Draw `count` faces, or only those at `indices` of them, with a progress bar.

    Face i depends on seed and i alone.

    Args:
        workers: processes; default one per core. They change only how long it takes.

    Returns:
        Pictures uint8 (count, 96, 96), grey values 0..255, and key points float32 (count, 15, 2),
        x and y in pixels (pixel centres, 0..95, y down) in the order of KEY_POINTS. Hidden points
        are given too.

    Raises:
        RuntimeError: a worker process died.
    """
    wanted = range(count) if indices is None else indices
    count = len(wanted)
    if workers is None:
        workers = min(os.cpu_count() or 1, count // 32)
    pictures = np.empty((count, SIZE, SIZE), np.uint8)
    key_points = np.empty((count, len(KEY_POINTS), 2), np.float32)
    drawn = _drawn(wanted, seed, workers)
    for i in follow(range(count), "drawing synthetic faces"):
        pictures[i], key_points[i] = next(drawn)
    return pictures, key_points


def _drawn(indices: Sequence[int], seed: int, workers: int) -> Iterator[Face]:
    """The faces at `indices` one after the other, drawn by so many processes."""
    if workers <= 1:
        return (draw_face(seed, index) for index in indices)
    from joblib import Parallel, delayed, parallel_config

    # loky starts fresh interpreters: a fork would copy a caller's TensorFlow threads.
    with parallel_config(
        "loky", inner_max_num_threads=1, idle_worker_timeout=2, initializer=_end_with_parent
    ):
        parallel = Parallel(workers, return_as="generator")
    return parallel(delayed(draw_face)(seed, index) for index in indices)


def _end_with_parent() -> None:
    """Have this worker end when its parent is killed: loky's would wait for it forever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
