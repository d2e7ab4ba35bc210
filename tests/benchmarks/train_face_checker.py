"""Train the free face checker of `models/detect/checker.py`, and save it for Keras and for NumPy.

    python tests/benchmarks/train_face_checker.py [--faces FOLDER ...] [--out models]

It needs what train_face_finder.py needs, and the finder and the refiner in `--out`. Crops with a
face: as that script draws windows, but rotated less, since the finder's rotation is about right;
half of them placed as well as the refiner places them. Crops without: the finder's false
positives, as they are and refined; faces that lie on their side or upside down; parts of faces;
crops of pictures without a face. Some 15 minutes of one core.
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
from face_windows import augment_crops, to_windows

from data.system.command_line import run_script
from models.detect.candidates import (
    cut_upright,
    find_candidates,
    join,
    refine_candidates,
    search_pyramid,
)
from models.detect.checker import CHECKED, CHECKER_LAYERS, build_checker
from models.detect.finder import FINDER_LAYERS
from models.detect.refiner import REFINER_LAYERS
from models.detect.small_networks import CONTEXT, load_weights

ROUNDS, EPOCHS = 8, 3  # new crops in each round
FACES, NON_FACES = 20_000, 30_000  # crops of a round
HARD, PARTS = 0.55, 0.3  # shares of the non-faces: the finder's false positives; misplaced faces
MINED = 30_000  # false positives of the finder
EASY = 0.1  # how often one that the checker rejects is drawn, beside 1 for one that it accepts
SCORE = 1.5  # the finder's score from which its candidates count, a little above the search's limit
# Where a face is in a crop, as far as the finder is wrong about it.
ROLL = 22.0  # degrees, standard deviation; never above 45
OFFSET = 0.2  # at most, of the side
SCALE = np.exp(0.45)  # at most, larger or smaller: from the side faces look small
REFINED = 0.5  # share whose errors are half as large, as after the refiner
# Beyond that it is another place, or a part of a face; the first kind is only rotated.
MISPLACED = Misplacement((0.4, 0.6, 0.88), (0.4, 0.9), scale=2.1, larger=1.0, smaller=0.6)

CROP = CHECKED + 2 * CONTEXT  # with what its contrast is normalized by


def draw_placements(count, rng):
    """Placements (count, 4), as `paste` takes them, in crops that count as showing a face."""
    angle = np.clip(np.radians(rng.normal(0, ROLL, count)), -np.pi / 4, np.pi / 4)
    log_scale = rng.uniform(-np.log(SCALE), np.log(SCALE), count)
    placements = np.column_stack([angle, rng.uniform(-OFFSET, OFFSET, (count, 2)), log_scale])
    placements[rng.random(count) < REFINED] /= 2
    return placements


def draw_misplaced(count, rng):
    """Placements (count, 4) in crops that count as showing none: rotated by 90 degrees or more, off
    centre, of another scale; all but the first kind are rotated by any multiple of 90 as well."""
    placements = draw_placements(count, rng)
    kind = rng.random(count)
    placements[:, 0] += np.pi / 2 * rng.integers(kind < MISPLACED.kinds[0], 4)
    return misplace(placements, kind, MISPLACED, rng)


def make_scene(backgrounds, faces, rng):
    """A background, rotated, scaled and perhaps relit, with up to two faces in it.

    Returns a uint8 (H, W) picture, and where the faces are, x y side (M, 3).
    """
    from PIL import Image

    scene = Image.fromarray(np.ascontiguousarray(backgrounds[rng.integers(len(backgrounds))]))
    scene = scene.rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR, expand=rng.random() < 0.5)
    zoom = np.exp(rng.uniform(-0.5, 0.35))
    size = [int(np.clip(s * zoom * np.exp(rng.normal(0, 0.1)), 60, 1200)) for s in scene.size]
    grey = np.asarray(scene.resize(size, Image.Resampling.BILINEAR))[:, :: rng.choice([-1, 1])]
    if rng.random() < 0.3:
        grey = (255 * (grey / 255) ** np.exp(rng.normal(0, 0.4))).astype(np.uint8)
    grey, squares = paste_large(grey, faces, rng)
    return np.ascontiguousarray(grey), squares


def mine(finder, refiner, backgrounds, faces, rng):
    """Crops of the finder's false positives, as they are and refined, uint8 (MINED, CROP, CROP)."""
    found = []
    while len(found) < MINED:
        scene, squares = make_scene(backgrounds, faces, rng)
        pyramid = search_pyramid(scene)
        candidates = find_candidates(finder, pyramid)
        candidates = candidates.take(candidates.scores > SCORE)
        candidates = join(candidates, refine_candidates(refiner, pyramid, candidates))
        right = at_faces(candidates.centers, candidates.sides, squares, 0.5, MISPLACED.scale)
        wrong = rng.permutation(np.flatnonzero(~right))[:80]
        found += list(np.rint(cut_upright(pyramid, candidates.take(wrong), CHECKED)))
    return np.array(found[:MINED]).astype(np.uint8)


def draw_round(faces, backgrounds, mined, probability, rng):
    """The samples of a round: crops (N, 48, 48, 1), and whether they show a face (N, 1).

    `probability` (MINED,), sum 1: how often each of the finder's false positives is drawn.
    """
    shown, _ = faces.windows(draw_placements(FACES, rng), backgrounds, rng, CROP, augment_crops)
    count = int(HARD * NON_FACES)
    flips = rng.integers(4, size=count), rng.choice([-1, 1], count)
    hard = mined[rng.choice(len(mined), count, p=probability)]
    hard = np.stack([np.rot90(crop, k)[:, ::s] for crop, k, s in zip(hard, *flips, strict=True)])
    placements = draw_misplaced(int(PARTS * NON_FACES), rng)
    misplaced, _ = faces.windows(placements, backgrounds, rng, CROP, augment_crops)
    others = cut_patches(backgrounds, NON_FACES - count - len(misplaced), rng, CROP)
    hard, others = (to_windows(augment_crops(some, rng)) for some in (hard, others))
    crops = np.concatenate([shown, hard, misplaced, others])[..., None]
    return crops, (np.arange(len(crops)) < FACES).astype(np.float32)[:, None]


def hardness(model, mined):
    """How often each false positive (MINED, CROP, CROP) is drawn next: (MINED,), sum 1."""
    logits = [
        model.predict(to_windows(np.rot90(mined, k, (1, 2)))[..., None], 512, verbose=0).ravel()
        for k in range(4)
    ]
    accepted = 100 * (np.max(logits, 0) > 0).mean()
    print(f"{accepted:.0f} % of the finder's false positives pass, in at least one of 4 rotations")
    probability = EASY + 1 / (1 + np.exp(-np.max(logits, 0)))
    return probability / probability.sum()


def loss(truth, output):
    """The logit's cross entropy."""
    from keras import ops

    return cross_entropy(truth[:, 0], ops.cast(output, "float32")[:, 0, 0, 0])


def train(model, faces, backgrounds, rng, folder):
    """Train the model round by round, against the finder and the refiner in the folder."""
    started = time.process_time()
    finder = load_weights(FINDER_LAYERS, folder / "free_finder.npz")
    refiner = load_weights(REFINER_LAYERS, folder / "free_refiner.npz")
    mined = mine(finder, refiner, backgrounds, faces, rng)
    seconds = time.process_time() - started
    print(f"{len(mined)} false positives of the finder, {seconds:.0f} s", flush=True)
    steps = ROUNDS * EPOCHS * ((FACES + NON_FACES) // BATCH)
    optimizer = make_optimizer(steps)
    model.compile(optimizer, loss)
    probability = np.full(MINED, 1 / MINED)
    for number in range(ROUNDS):
        started = time.process_time()
        if number:
            faces.occlude_anew(rng)
            probability = hardness(model, mined)
        crops, truth = draw_round(faces, backgrounds, mined, probability, rng)
        fit_round(model, number, EPOCHS, crops, truth, started)
    optimizer.finalize_variable_values(model.trainable_variables)


def score(model, faces, backgrounds, rng):
    """Print how many of held-out people's faces the checker accepts."""
    crops, _ = faces.windows(draw_placements(6000, rng), backgrounds, rng, CROP, augment_crops)
    logits = model.predict(crops[..., None], 512, verbose=0).ravel()
    accepted = (f"{100 * (logits > limit).mean():.2f} %" for limit in (0, -2, -4))
    print("held-out faces with a logit above 0, -2, -4: " + ", ".join(accepted))


CHECKER = SmallTraining(
    "free_checker", "the free face checker", build_checker, CHECKER_LAYERS, train, score, half=True
)

if __name__ == "__main__":
    sys.exit(run_script(None, partial(parse_arguments, CHECKER), partial(run, CHECKER)))
