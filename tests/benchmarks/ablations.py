"""What each part of the training is worth: short trainings that differ in one thing.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/ablations.py            # about 5 minutes of a core for each of 34

Every variant is trained for the same number of steps, on Kaggle's training faces or on these and
LFW's and AFLW's, from several random initializations, and scored as hard_faces.py does on the
held-out faces. Results are kept in --out; runs that are in it are not repeated.
"""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import common
import hard_faces
import numpy as np
import scored_faces
import wild_faces_csv

from data.key_points import PARTNERS, SIZE, rmse
from data.settings import GEOMETRY, LIGHT, OCCLUSION, Settings
from data.system.command_line import positive, run_script
from data.system.files import HERE, make_folder, replace_file
from models.network import build_model, has_bfloat16, predict, with_source_offsets
from models.storage import load_model
from models.training import fit
from models.training.optimizer import make_optimizer

SETS = {
    "Kaggle test, labelled by hand": "hand-labelled",
    "– turned by less than 20°": "wild, < 20°",
    "– turned by 20° to 40°": "20–40°",
    "– turned by 40° or more": "≥ 40°",
    "all, dark glasses": "dark glasses",
    "all, hair, hat or hand over the face": "occluded",
}
NO_OCCLUSION, NO_GEOMETRY, NO_LIGHT = (
    dict.fromkeys(names, 0.0) for names in (OCCLUSION, GEOMETRY, LIGHT)
)

BUILD_MODEL, WITH_SOURCE_OFFSETS = build_model, with_source_offsets


def dense_head(dtype="float32", count=15):
    """`build_model` with a plain CNN's head: a dense layer from the encoder to pixels."""
    import keras
    from keras import layers

    whole = BUILD_MODEL(dtype, count)
    (up,) = (layer for layer in whole.layers if isinstance(layer, layers.UpSampling2D))
    flat = layers.Flatten(dtype="float32")(up.input)  # 6x6 places of 96 channels
    points = layers.Dense(2 * count, dtype="float32")(flat)
    points = layers.Rescaling(SIZE / 8, SIZE / 2, dtype="float32", name="key_points")(points)
    outputs = {"key_points": points, "spread": whole.output["spread"]}
    return keras.Model(whole.input, outputs)


def wing_loss(*_):
    """Wing loss with w = 10, epsilon = 2 (Feng et al. 2018, https://arxiv.org/abs/1711.06753)."""
    from keras import ops

    def loss(truth, predicted):
        labelled = ops.logical_not(ops.isnan(truth))
        error = ops.abs(ops.where(labelled, predicted - ops.where(labelled, truth, 0), 0))
        bent = 10 - 10 * float(np.log1p(10 / 2))
        return ops.mean(ops.where(error < 10, 10 * ops.log(1 + error / 2), error - bent), axis=-1)

    return loss


def adamw(*settings):
    """`make_optimizer` without Muon: every layer by AdamW."""
    return make_optimizer(*settings, by_muon=lambda variable: False)


def no_offsets(model, sources, partners=PARTNERS, alike=()):
    """`with_source_offsets` whose offsets stay zero: every file is treated as Kaggle's."""
    moved = WITH_SOURCE_OFFSETS(model, sources, partners, alike)
    moved.get_layer("source_offsets").trainable = False
    return moved


# Name: on the wild faces too, settings, replaced functions, at most so many seeds: one run is
# enough where the effect is far larger than the variation between initializations.
VARIANTS = {
    "baseline": (False, {}, {}, 3),
    "no occlusion": (False, NO_OCCLUSION, {}, 3),
    "no change of light, noise or sharpness": (False, NO_LIGHT, {}, 3),
    "no rotation, scaling, shift": (False, NO_GEOMETRY, {}, 1),
    "no augmentation but the flip": (False, NO_OCCLUSION | NO_LIGHT | NO_GEOMETRY, {}, 1),
    "AdamW for all layers, learning rate 0.002": (
        False,
        {"learning_rate": 2e-3},
        {"make_optimizer": adamw},
        3,
    ),
    "augmentation at full strength from the start": (False, {"full_augmentation": 1}, {}, 3),
    "Huber δ = 3 px": (False, {"huber_px": 3.0}, {}, 3),
    "squared error": (False, {"huber_px": 1e9}, {}, 3),
    "Wing loss": (False, {}, {"masked_loss": wing_loss}, 1),
    "no averaged weights": (False, {"ema_momentum": 0.0}, {}, 3),
    "a dense layer instead of maps and offsets": (False, {}, {"build_model": dense_head}, 1),
    "with LFW and AFLW": (True, {}, {}, 3),
    "with LFW and AFLW, no offset per file": (True, {}, {"with_source_offsets": no_offsets}, 3),
}


def train(name, seed, everything, training, validation, epochs, initial=None):
    """A variant's model, trained for as many steps as `epochs` over Kaggle's training faces take.

    Args:
        name: of VARIANTS.
        seed: of the initialization, the order and the augmentation.
        everything: Faces of Kaggle (source 0), LFW and AFLW; training, validation: rows of them.
        epochs: over Kaggle's faces alone.
        initial: a model for a warm start; None: random weights.
    """
    import keras

    wild, changes, functions, _ = VARIANTS[name]
    settings = replace(
        Settings(), seed=seed, epochs=epochs, first_repeats=1, spread_steps=1, full_views=10**9
    )
    kaggle = training[everything.source[training] == 0]
    rows = kaggle
    if wild:  # one pass over as many faces, augmented as strongly
        count = len(kaggle) // settings.batch_size * settings.batch_size * (epochs - 1)
        others = np.setdiff1d(training, kaggle)
        others = np.random.default_rng(seed).permutation(others)[:count]
        rows = np.concatenate([kaggle, others])
        settings = replace(
            settings, epochs=1, full_augmentation=settings.full_augmentation / epochs
        )
    settings = replace(settings, **changes)
    precision = "bfloat16" if has_bfloat16() else "float32"
    keras.backend.clear_session()
    with patch.multiple(fit, **functions) if functions else nullcontext():
        model, _, _ = fit.train(
            everything.take(rows), everything.take(validation), settings, precision, initial=initial
        )
    return model


def score(model, faces):
    """Held-out RMSE on Kaggle's file in pixels, and the mean error of every set, in percent."""
    predicted, _ = predict(model, faces.pictures, mirror=True)
    kaggle = faces.source == scored_faces.KAGGLE
    errors = hard_faces.face_errors(hard_faces.without_offsets(predicted, faces), faces.truth)
    masks = scored_faces.face_sets(faces)
    return {
        "rmse_px": rmse(predicted[kaggle], faces.truth[kaggle]),
        **{name: float(errors[masks[name]].mean()) for name in SETS},
    }


def table(done):
    """The markdown table of the results so far: mean and standard deviation over the seeds."""
    rows = []
    for name in VARIANTS:
        runs = [run for key, run in done.items() if key.startswith(f"{name}, seed ")]
        if not runs:
            continue
        cells = []
        for column in ("rmse_px", *SETS):
            values = [run[column] for run in runs]
            spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{spread}")
        rows.append([name, str(len(runs)), *cells])
    return common.markdown(["variant", "runs", "Kaggle, held-out, px", *SETS.values()], rows)


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Short trainings that differ in one thing each.")
    add = parser.add_argument
    scored_faces.add_arguments(parser)
    add("--epochs", type=positive(int), default=10, help="over Kaggle's training faces")
    add("--variants", nargs="+", choices=VARIANTS, metavar="NAME", help="only these, not all")
    add("--init", type=Path, metavar="PATH", help="a model for a warm start (give another --out)")
    add("--seeds", type=positive(int), default=3, help="at most so many runs of each variant")
    add("--out", type=Path, default=HERE / "results" / "ablations.json", help="file of the results")
    return parser.parse_args(argv)


def run(arguments):
    """Train and score the missing runs, seed by seed, and print the table."""
    make_folder(arguments.out.parent)
    done = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    _, _, everything, training, validation = wild_faces_csv.split_real_faces(
        arguments.shared / "training.csv.gz", arguments.wild
    )
    faces = scored_faces.with_hand_labelled(everything.take(validation), arguments.shared)
    kaggle = validation[everything.source[validation] == 0]
    for seed in range(arguments.seeds):
        for name in arguments.variants or VARIANTS:
            seeds = VARIANTS[name][-1]
            key = f"{name}, seed {seed}, {arguments.epochs} epochs"
            if seed >= seeds or key in done:
                continue
            print(f"\n{key}", flush=True)
            initial = load_model(arguments.init)[0] if arguments.init else None
            model = train(name, seed, everything, training, kaggle, arguments.epochs, initial)
            done[key] = score(model, faces)
            text = json.dumps(done, indent=2, ensure_ascii=False) + "\n"
            replace_file(arguments.out, lambda file, text=text: file.write_text(text))
            print(json.dumps(done[key]), flush=True)
    print("\n" + table(done))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
