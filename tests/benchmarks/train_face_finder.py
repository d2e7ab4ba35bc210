"""Train the free face finder of `models/detect/finder.py`, and save it for Keras and for NumPy.

    pip install scikit-image OpenEXR                    # pictures without faces, and their reader
    npm pack @pmndrs/assets@1.7.0 --pack-destination data
    python -m data.synthetic.rendered --train 30000 --test 0 --seed 300 --out data/rendered_300
    python -m data.synthetic.rendered --train 30000 --test 0 --seed 301 --out data/rendered_301
    python tests/benchmarks/train_face_finder.py [--faces FOLDER ...] [--out models]

Windows with a face: rendered ones (face_windows.py), rotated by any angle. Windows without: crops
of pictures without a face (face_backgrounds.py), parts of faces, and, after each round, the
finder's own false positives (hard negative mining). All of it may be used for anything. Some 14
minutes of one core.
"""

import sys
import time
from functools import partial

import numpy as np
from face_backgrounds import cut_patches
from face_training import (
    BATCH,
    Misplacement,
    SmallTraining,
    at_faces,
    cross_entropy,
    fit_round,
    make_optimizer,
    misplace,
    parse_arguments,
    paste_large,
    run,
)
from face_windows import augment_light, to_windows

from data.system.command_line import run_script
from models.detect.candidates import finder_inputs, search_pyramid
from models.detect.finder import FINDER_LAYERS, WINDOW, build_finder, scan
from models.detect.settings import DEFAULTS as SEARCH
from models.detect.small_networks import weights_of

ROUNDS = 10  # new windows in each, and the finder's false positives so far
EPOCHS = 4  # of each round
FACES, NON_FACES = 24_000, 42_000  # windows of a round
HARD = 0.45  # share of the non-faces that are its false positives, from the second round
MINING = 20  # seconds at most to look for them, each time
REGRESSION = 2.0  # weight of rotation, offset and scale beside the two classification losses
# Windows with a face: where it may be in one. If it is further off, another window shows it.
UPRIGHT = 0.5  # share rotated by ROLL only, the others by any angle
ROLL = 20.0  # degrees, standard deviation
OFFSET = 0.13  # at most, of the window's side
SCALE = 2**0.3  # at most, larger or smaller than the window
# A window whose face is further off or of another scale shows none.
MISPLACED = Misplacement((0.0, 0.5, 0.85), (0.3, 0.8), scale=1.7, larger=1.2, smaller=0.7)


def draw_placements(count, rng):
    """Placements (count, 4), as `paste` takes them, in windows that count as showing a face."""
    angle = np.where(
        rng.random(count) < UPRIGHT,
        np.radians(rng.normal(0, ROLL, count)),
        rng.uniform(-np.pi, np.pi, count),
    )
    log_scale = rng.uniform(-np.log(SCALE), np.log(SCALE), count)
    return np.column_stack([angle, rng.uniform(-OFFSET, OFFSET, (count, 2)), log_scale])


def draw_misplaced(count, rng):
    """Placements (count, 4) in windows that count as showing none: off centre, another scale."""
    placements = draw_placements(count, rng)
    return misplace(placements, rng.random(count), MISPLACED, rng)


def targets(placements=None, count=0):
    """Targets (N, 6): face or not, then the cosine and sine of the rotation, offset, log scale."""
    if placements is None:
        return np.zeros((count, 6), np.float32)
    angle, dx, dy, log_scale = placements.T
    columns = 0 * angle + 1, np.cos(angle), np.sin(angle), dx, dy, log_scale
    return np.column_stack(columns).astype(np.float32)


def mine(finder, backgrounds, faces, count, rng):
    """The finder's false positives in the backgrounds: windows, float16 (up to count, 24, 24)."""
    found, total = [], 0
    started = time.process_time()
    while total < count and time.process_time() - started < MINING:
        scene = backgrounds[rng.integers(len(backgrounds))]
        scene = np.rot90(scene, rng.integers(4))[:, :: rng.choice([-1, 1])]
        scene, squares = paste_large(scene, faces, rng)
        gain = np.exp(rng.uniform(-2, 0)) if rng.random() < 0.3 else 1
        scene = np.ascontiguousarray((scene * gain).astype(np.uint8))
        some = []
        for level, step in finder_inputs(search_pyramid(scene)):
            corners, values = scan(finder, level, SEARCH.early_logit)
            wrong = values[:, 1] > -2
            centers = (corners + (WINDOW - 1) / 2 - SEARCH.border) * step
            sides = np.full(len(centers), WINDOW * step[0])
            wrong &= ~at_faces(centers, sides, squares, 0.45, 1.9)
            windows = np.lib.stride_tricks.sliding_window_view(level, (WINDOW, WINDOW))
            x, y = corners[wrong].T
            some.append(windows[y, x].astype(np.float16))
        some = np.concatenate(some)
        some = some[rng.permutation(len(some))[:150]]
        found.append(some)
        total += len(some)
    return np.concatenate(found)[:count]


def loss(truth, output):
    """Both logits' cross entropy, and where there is a face, squared errors of its placement."""
    from keras import ops

    truth, output = truth[:, None, None, :], ops.cast(output, "float32")
    face = truth[..., 0]
    errors = ops.square(output[..., 2:] - truth[..., 1:]) * np.array([2, 2, 30, 30, 10], np.float32)
    regression = face * ops.sum(errors, -1)
    # The first layers should let faces pass, the last ones decide.
    early, final = cross_entropy(face, output[..., 0], 4.0), cross_entropy(face, output[..., 1])
    return early / 2 + 2 * final + REGRESSION * regression


def draw_round(faces, backgrounds, false_positives, rng):
    """The samples of a round: windows (N, 24, 24, 1) and targets (N, 6)."""
    windows, placements = faces.windows(draw_placements(FACES, rng), backgrounds, rng)
    hard = false_positives[rng.permutation(len(false_positives))[: int(HARD * NON_FACES)]]
    parts = int(0.4 * (NON_FACES - len(hard)))
    misplaced, _ = faces.windows(draw_misplaced(parts, rng), backgrounds, rng)
    others = cut_patches(backgrounds, NON_FACES - len(hard) - parts, rng)
    others = to_windows(augment_light(others.astype(np.float32), rng))
    x = np.concatenate([windows, hard, misplaced, others])[..., None]
    return x, np.concatenate([targets(placements), targets(count=NON_FACES)])


def train(model, faces, backgrounds, rng, folder):
    """Train the model round by round."""
    steps = ROUNDS * EPOCHS * ((FACES + NON_FACES) // BATCH)
    optimizer = make_optimizer(steps)
    model.compile(optimizer, loss)
    false_positives = np.empty((0, WINDOW, WINDOW), np.float16)
    for number in range(ROUNDS):
        started = time.process_time()
        x, y = draw_round(faces, backgrounds, false_positives, rng)
        order = rng.permutation(len(x))[: len(x) // BATCH * BATCH]
        fit_round(model, number, EPOCHS, x[order], y[order], started)
        if number < ROUNDS - 1:
            trained = time.process_time()
            finder = weights_of(model, FINDER_LAYERS)
            new = mine(finder, backgrounds, faces, int(HARD * NON_FACES / 2), rng)
            false_positives = np.concatenate([new, false_positives])[: 3 * NON_FACES // 2]
            seconds = time.process_time() - trained
            print(f"{len(false_positives)} false positives, {seconds:.0f} s mining", flush=True)
    optimizer.finalize_variable_values(model.trainable_variables)


def score(model, faces, backgrounds, rng):
    """Print recall and errors on held-out people's faces, and false positives in backgrounds."""
    windows, placements = faces.windows(draw_placements(6000, rng), backgrounds, rng)
    output = model.predict(windows[..., None], verbose=0, batch_size=512)
    output = np.asarray(output)[:, 0, 0]
    rotated = np.abs(placements[:, 0]) > np.radians(45)
    limits = SEARCH.early_logit, SEARCH.window_logit
    for name, mask in (("rotated by up to 45 degrees", ~rotated), ("rotated further", rotated)):
        found, truth = output[mask], placements[mask]
        early, face = (found[:, i] > limit for i, limit in enumerate(limits))
        angle = np.angle((found[:, 2] + 1j * found[:, 3]) * np.exp(-1j * truth[:, 0]))
        print(
            f"held-out faces, {name}: {100 * early.mean():.2f} % pass the first stage,"
            f" {100 * (early & face).mean():.2f} % both; error of the rotation"
            f" {np.degrees(np.median(np.abs(angle))):.1f} degrees (median), above 45 in"
            f" {100 * (np.abs(angle) > np.pi / 4).mean():.1f} %, of the offset"
            f" {np.abs(found[:, 4:6] - truth[:, 1:3]).mean():.3f}, of the log scale"
            f" {np.abs(found[:, 6] - truth[:, 3]).mean():.3f}"
        )
    finder = weights_of(model, FINDER_LAYERS)
    windows = early = face = 0
    for background in backgrounds:
        for level, _ in finder_inputs(search_pyramid(background)):
            windows += (level.shape[0] // 4 - 5) * (level.shape[1] // 4 - 5)
            _, values = scan(finder, level, SEARCH.early_logit)
            early, face = early + len(values), face + (values[:, 1] > SEARCH.window_logit).sum()
    print(
        f"windows of the backgrounds: {windows}, of which {100 * early / windows:.2f} % pass the"
        f" first stage, {100 * face / windows:.4f} % both"
    )


FINDER = SmallTraining(
    "free_finder", "the free face finder", build_finder, FINDER_LAYERS, train, score
)

if __name__ == "__main__":
    sys.exit(run_script(None, partial(parse_arguments, FINDER), partial(run, FINDER)))
