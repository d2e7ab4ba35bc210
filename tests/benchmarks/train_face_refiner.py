"""Train the face refiner of `models/detect/refiner.py`, and save it for Keras and for NumPy.

    python tests/benchmarks/train_face_refiner.py [--faces FOLDER ...] [--out models]

It needs what train_face_finder.py needs. Crops around candidates whose face is off centre, larger
or smaller, rotated, often beside another face; the targets say by how much. Some 35 minutes of one
core.
"""

import sys
import time
from functools import partial

import numpy as np
from face_training import BATCH, SmallTraining, fit_round, make_optimizer, parse_arguments, run
from face_windows import augment_crops

from data.system.command_line import run_script
from models.detect.refiner import AROUND, REFINED, REFINER_LAYERS, build_refiner
from models.detect.small_networks import CONTEXT

ROUNDS, EPOCHS = 36, 2  # new crops in each round
FACES = 32_000  # crops of a round
# How the face lies beside the candidate, as far as the finder is wrong about it.
ROLL, WIDE = 20.0, 135.0  # degrees: standard deviation; at most, of the share ANY
ANY = 0.2
OFFSET, FARTHEST = 0.2, 0.6  # standard deviation, and at most, of the larger side of both
LOG_SCALE = (0.2, 0.4)  # mean and standard deviation: the finder takes faces for too small
SMALLEST, LARGEST = -0.6, 1.0
BESIDE = 0.35  # share with another face beside it
REACH = (0.65, 1.5)  # where pasted faces end: it must not tell how large they are
WEIGHTS = (1, 1, 2, 2, 2)  # of the errors of cosine, sine, x, y and log size
SMOOTH = 0.1  # errors far below this count as squares, others as they are

CROP = REFINED + 2 * CONTEXT  # with what its contrast is normalized by


def draw_placements(count, rng):
    """Placements (count, 4), as `paste` takes them, of the faces of candidates."""
    angle = rng.normal(0, np.radians(ROLL), count)
    wide = rng.random(count) < ANY
    angle[wide] = np.radians(rng.uniform(-WIDE, WIDE, wide.sum()))
    log_scale = np.clip(rng.normal(*LOG_SCALE, count), SMALLEST, LARGEST)
    offsets = np.clip(rng.normal(0, OFFSET, (count, 2)), -FARTHEST, FARTHEST)
    offsets *= np.exp(np.maximum(log_scale, 0))[:, None]
    return np.column_stack([angle, offsets / AROUND, log_scale - np.log(AROUND)])


def draw_beside(placements, rng):
    """Which of the faces placed so (N, 4) have another one beside them, and where, (M, 4)."""
    some = np.flatnonzero(rng.random(len(placements)) < BESIDE)
    angle, x, y, log_scale = placements[some].T
    log_scales = log_scale + rng.normal(0, 0.25, len(some))
    away = rng.uniform(0.75, 1.4, len(some)) * (np.exp(log_scales) + np.exp(log_scale)) / 2
    direction = rng.uniform(0, 2 * np.pi, len(some))
    place = x + away * np.cos(direction), y + away * np.sin(direction)
    return some, np.column_stack([angle + rng.normal(0, 0.3, len(some)), *place, log_scales])


def draw_crops(faces, count, backgrounds, rng):
    """Crops (count, 56, 56, 1) of random faces, and the numbers (count, 5) that the refiner should
    see in them."""
    placements = draw_placements(count, rng)
    crops, placements = faces.windows(
        placements, backgrounds, rng, CROP, augment_crops, REACH, draw_beside
    )
    return crops[..., None], targets(placements)


def targets(placements):
    """The five numbers (N, 5) that the refiner should see at placements (N, 4)."""
    angle, dx, dy, log_scale = placements.T
    place = AROUND * dx, AROUND * dy, log_scale + np.log(AROUND)
    return np.column_stack([np.cos(angle), np.sin(angle), *place]).astype(np.float32)


def loss(truth, output):
    """The weighted sum of smoothed absolute errors: some faces are hardly visible."""
    from keras import ops

    error = ops.cast(output, "float32")[:, 0, 0] - truth
    error = ops.sqrt(ops.square(error) + SMOOTH**2) - SMOOTH
    return ops.sum(error * np.array(WEIGHTS, np.float32), -1)


def train(model, faces, backgrounds, rng, folder):
    """Train the model round by round."""
    optimizer = make_optimizer(ROUNDS * EPOCHS * (FACES // BATCH))
    model.compile(optimizer, loss)
    for number in range(ROUNDS):
        started = time.process_time()
        if number:
            faces.occlude_anew(rng)
        crops, truth = draw_crops(faces, FACES, backgrounds, rng)
        fit_round(model, number, EPOCHS, crops, truth, started)
    optimizer.finalize_variable_values(model.trainable_variables)


def score(model, faces, backgrounds, rng):
    """Print how far off candidates of held-out people's faces are, before and after."""
    crops, truth = draw_crops(faces, 6000, backgrounds, rng)
    found = model.predict(crops, 512, verbose=0)[:, 0, 0]
    for name, seen in (("before", np.float32([1, 0, 0, 0, 0])), ("after", found)):
        turn = np.arctan2(truth[:, 1], truth[:, 0]) - np.arctan2(seen[..., 1], seen[..., 0])
        degrees = np.abs(np.degrees((turn + np.pi) % (2 * np.pi) - np.pi))
        off = np.abs(seen - truth)
        print(
            f"held-out faces, {name}: angle {np.median(degrees):.1f} degrees (median), above 45 in"
            f" {100 * (degrees > 45).mean():.1f} %; offset {off[:, 2:4].mean():.3f}, log scale"
            f" {off[:, 4].mean():.3f} (means)"
        )


REFINER = SmallTraining(
    "free_refiner", "the face refiner", build_refiner, REFINER_LAYERS, train, score, half=True
)

if __name__ == "__main__":
    sys.exit(run_script(None, partial(parse_arguments, REFINER), partial(run, REFINER)))
