"""What the trainings of the three small networks share, from arguments to files."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import common
import face_backgrounds
import face_windows
import numpy as np
import pretrain

from data.system.command_line import natural
from data.system.files import HERE, make_folder, replace_file
from models.detect.small_networks import save_weights, weights_of

BATCH, LEARNING_RATE = 256, 2e-3  # the peak of a cosine


@dataclass(frozen=True)
class SmallTraining:
    """One of the three trainings."""

    name: str  # of the files: <name>.keras and <name>.npz
    title: str  # what is trained, as part of a sentence
    build: Callable  # () -> Keras model, not trained
    layers: tuple  # of the model, as `weights_of` wants them
    train: Callable  # (model, faces, backgrounds, rng, folder to write to)
    score: Callable  # (model, held-out faces, backgrounds, rng): prints
    half: bool = False  # round the weights to half precision, and compress the .keras


def parse_arguments(training, argv):
    """The command line as an argparse namespace."""
    parser = common.parser(f"Train {training.title}.")
    add = parser.add_argument
    # The shipped ones learned from the faces of the first two trainings.
    faces = [HERE / "data" / f"rendered_{one.seed}" for one in pretrain.RENDERED[:2]]
    add("--faces", type=Path, nargs="+", default=faces, help="folders of pretrain.py's faces")
    panoramas = HERE / "data" / "pmndrs-assets-1.7.0.tgz"
    add("--panoramas", type=Path, default=panoramas, help="of npm pack @pmndrs/assets@1.7.0")
    add("--out", type=Path, default=HERE / "models", help="folder to write to")
    add("--init", type=Path, help="folder of weights to start from")
    add("--seed", type=natural, default=0, help="of all random numbers")
    return parser.parse_args(argv)


def run(training, arguments):
    """Train, score, save."""
    import keras

    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    make_folder(arguments.out)
    faces, held_out = face_windows.load_all(arguments.faces)
    backgrounds = face_backgrounds.load_backgrounds(arguments.panoramas)
    backgrounds += face_backgrounds.make_shapes(rng)
    backgrounds += face_backgrounds.render_sheets(arguments.seed)
    model = training.build()
    if arguments.init:
        model.load_weights(arguments.init / f"{training.name}.keras")
    training.train(model, faces, backgrounds, rng, arguments.out)
    training.score(model, held_out, backgrounds, rng)
    save(training, model, arguments.out)


def save(training, model, folder):
    """Write a trained model as .keras and .npz, without the optimizer's variables."""
    weights = model.get_weights()
    if training.half:  # changes no result that counts, and both files pack to half their size
        weights = [w.astype(np.float16).astype(np.float32) for w in weights]
    plain = training.build()
    plain.set_weights(weights)
    write = partial(save_compressed, plain) if training.half else plain.save
    replace_file(folder / f"{training.name}.keras", write)
    arrays = weights_of(plain, training.layers)
    write = partial(save_weights, arrays, training.layers)
    replace_file(folder / f"{training.name}.npz", write)


def save_compressed(model, path):
    """Save a Keras model as a .keras with compressed parts, which `load_model` reads as usual."""
    model.save(path)
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


# --- samples -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misplacement:
    """How wrongly faces are placed in windows that count as showing none.

    `kinds`: up to where in 0 .. 1 faces are left as they are, off centre, and too large; the
    others are too small. Offsets are in sides of the window, the scales beyond `scale` in logs.
    """

    kinds: tuple[float, float, float]
    offset: tuple[float, float]
    scale: float
    larger: float
    smaller: float


def misplace(placements, kind, wrong, rng):
    """The placements (N, 4) of `paste`, made wrong by their kind (N,) in 0 .. 1."""
    count = len(placements)
    kept, aside, large = wrong.kinds
    small = kind >= large
    large, aside = (kind >= aside) & ~small, (kind >= kept) & (kind < aside)
    direction, far = rng.uniform(0, 2 * np.pi, count), rng.uniform(*wrong.offset, count)
    offsets = np.column_stack([np.cos(direction), np.sin(direction)]) * far[:, None]
    offsets *= np.exp(np.maximum(placements[:, 3:], 0))
    placements[aside, 1:3] = offsets[aside]
    placements[large, 3] = np.log(wrong.scale) + rng.uniform(0, wrong.larger, large.sum())
    shift = rng.uniform(-0.5, 0.5, (large.sum(), 2))
    placements[large, 1:3] += shift * np.exp(placements[large, 3:])
    placements[small, 3] = -np.log(wrong.scale) - rng.uniform(0, wrong.smaller, small.sum())
    return placements


def at_faces(centers, sides, squares, near, larger):
    """Which windows, with these centers (N, 2) and sides (N,), show a face of `squares` (M, 3).

    A face, x y side, is shown by a window that is off by at most `near` of the larger side, and at
    most `larger` times as large or as small.
    """
    off = np.abs(centers[:, None] - squares[:, :2]).max(-1)
    alike = np.abs(np.log(sides[:, None] / squares[:, 2])) < np.log(larger)
    return (alike & (off < near * np.maximum(sides[:, None], squares[:, 2]))).any(1)


def paste_large(scene, faces, rng):
    """The scene with up to two faces of 60 pixels and more in it, and their x y side, (M, 3)."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(scene))
    squares = []
    if rng.random() < 0.5:
        for _ in range(2):
            side = int(np.exp(rng.uniform(np.log(60), np.log(max(70, min(scene.shape) / 2)))))
            x, y = (int(rng.integers(max(1, extent - side))) for extent in picture.size)
            if any(
                np.abs(np.array([x, y]) + side / 2 - s[:2]).max() < (side + s[2]) / 2
                for s in squares
            ):
                continue
            face = Image.fromarray(faces.pictures[rng.integers(len(faces.pictures))])
            face = face.resize((side, side), Image.Resampling.BICUBIC).rotate(90 * rng.integers(4))
            picture.paste(face, (x, y))
            squares.append((x + side / 2, y + side / 2, side))
    return np.asarray(picture), np.reshape(squares, (-1, 3))


# --- training ------------------------------------------------------------------------------------


def cross_entropy(face, logit, weight=1.0):
    """Of a logit, where the truth is a face (1) or none (0); faces count `weight` times."""
    from keras import ops

    # log(1 + exp(.)) that does not overflow
    return weight * face * ops.softplus(-logit) + (1 - face) * ops.softplus(logit)


def make_optimizer(steps):
    """AdamW for a training of so many steps: warm-up, cosine, averaged weights."""
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - 300, warmup_target=LEARNING_RATE, warmup_steps=300
    )
    return keras.optimizers.AdamW(rate, weight_decay=0.01, use_ema=True, ema_momentum=0.998)


def fit_round(model, number, epochs, samples, truth, started):
    """Train the model on a round's samples; `started`: the processor time when drawing began."""
    drawn = time.process_time()
    history = model.fit(samples, truth, batch_size=BATCH, epochs=epochs, verbose=0)
    print(
        f"round {number + 1}: loss {history.history['loss'][-1]:.4f}; {drawn - started:.0f} s"
        f" drawing, {time.process_time() - drawn:.0f} s training",
        flush=True,
    )
