"""Wrong labels: how many of them `model_builder.py --suspects` finds, and what masking them gains.

    python tests/benchmarks/suspects.py --set synthetic kaggle      # two short trainings each
    python tests/benchmarks/suspects.py --set kaggle --init         # a warm start
    python tests/benchmarks/suspects.py --gain

Spoils 2 % of the labels in ways people do, judges all of them as the script does, and prints
precision and recall by kind. Wrong labels that a real file had before count as mistakes. With
--init the networks start from models/pretrained.keras, and only faces are judged that its training
did not see. The predictions are kept in --keep, so that limits can be tried without training.

--gain: what masking the suspects of Kaggle's file, as it comes, changes on the hand-labelled test
faces.
"""

import sys
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
from scored_faces import hand_labelled

from data.faces import load_training, synthetic_faces
from data.key_points import KEY_POINTS, PARTNERS
from data.settings import Settings
from data.system.command_line import positive, run_script
from data.system.files import make_folder
from model_builder import SUSPECT_BATCH, SUSPECT_EPOCHS
from models.network import predict
from models.storage import SHIPPED, load_landmarker
from models.training.fit import train
from models.training.suspects import find_conventions, judge_labels, predict_unseen

COUNT, SEED = 2140, 20  # of the synthetic faces: as many as Kaggle's, and unseen by any model

# --- spoiling ------------------------------------------------------------------------------------

EYES = [KEY_POINTS.index(n) for n in KEY_POINTS if n.startswith("left_eye_")]
BROWS = [KEY_POINTS.index(n) for n in KEY_POINTS if n.startswith("left_eyebrow_")]
CORNERS = [KEY_POINTS.index(f"left_eye_{end}_corner") for end in ("inner", "outer")]
SHARE = 0.02  # of the labels


def swap(points, some, others):
    """Exchange two lists of points of one face (15, 2)."""
    points[[*some, *others]] = points[[*others, *some]]


def swap_eyes(points, rng):
    """The left eye's points for the right one's."""
    swap(points, EYES, PARTNERS[EYES])


def swap_brows(points, rng):
    """The left brow for the right one."""
    swap(points, BROWS, PARTNERS[BROWS])


def swap_brow_and_eye(points, rng):
    """One side's ends of the brow for the corners of the eye."""
    swap(points, *((BROWS, CORNERS), (PARTNERS[BROWS], PARTNERS[CORNERS]))[rng.integers(2)])


def swap_sides(points, rng):
    """Left for right in all points."""
    points[:] = points[PARTNERS]


def move_point(points, rng):
    """One point 4 to 15 px off."""
    points[rng.integers(len(points))] += anywhere(rng)


def move_row(points, rng):
    """All points shifted by the same 4 to 15 px."""
    points += anywhere(rng)


def anywhere(rng):
    """4 to 15 pixels in any direction, (2,)."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(4, 15) * np.array([np.cos(angle), np.sin(angle)])


# Each kind, and its share of the spoilt labels: half are single points, the hardest to find.
KINDS = {
    "one point 4 to 15 px off": (move_point, 0.5),
    "left eye for right eye": (swap_eyes, 0.1),
    "left brow for right brow": (swap_brows, 0.1),
    "brow for eye": (swap_brow_and_eye, 0.1),
    "left for right in all points": (swap_sides, 0.1),
    "whole row shifted by 4 to 15 px": (move_row, 0.1),
}


def spoil(key_points, seed=0):
    """Spoil SHARE of the labels of (N, 15, 2), each row by one kind at most.

    Returns the spoilt key points, and the kind of each label, int (N, 15): -1 is not spoilt.
    """
    rng = np.random.default_rng(seed)
    spoilt, kind = key_points.copy(), np.full(key_points.shape[:2], -1)
    rows = iter(rng.permutation(np.flatnonzero(np.isfinite(key_points).all((1, 2)))))
    for number, (change, share) in enumerate(KINDS.values()):
        target = share * SHARE * np.isfinite(key_points[..., 0]).sum()
        while (kind == number).sum() < target:
            row = next(rows)
            change(spoilt[row], rng)
            kind[row, (spoilt[row] != key_points[row]).any(1)] = number
    return spoilt, kind


# --- judging -------------------------------------------------------------------------------------


def load(name, initial):
    """The file of a set, and its faces that the model `initial`, if any, did not see."""
    if name == "synthetic":
        faces = synthetic_faces(COUNT // 3 if initial else COUNT, SEED)
        return faces, faces
    file = load_training(common.KAGGLE)
    if not initial:
        return file, file
    first = initial.record["data"][0]  # Kaggle's file, its inconsistent labels masked
    if first["faces"] != len(file.rows):
        raise SystemExit(f"{initial.path} was not trained on Kaggle's complete rows first.")
    return file, file.take(first["validation_rows"])


def judge(file, faces, initial, settings, kept):
    """The faces judged as `model_builder.py --suspects` does; predictions are kept in a file."""
    if not kept.exists():
        model = initial.model if initial else None
        predicted, spread = predict_unseen(faces, settings, initial=model)
        np.savez(kept, predicted=predicted, spread=spread)
    found = np.load(kept)
    convention = find_conventions(faces, [file])
    return judge_labels(faces.key_points, found["predicted"], found["spread"], convention)


def score(name, judged, kind):
    """Rows of the table: what was found of each kind, precision and recall of all."""
    rows = []
    for number, what in enumerate(KINDS):
        own = kind == number
        rows.append([name, what, str(own.sum()), f"{judged.suspect[own].mean():.2f}", ""])
    precision = (kind >= 0)[judged.suspect].mean()
    recall = judged.suspect[kind >= 0].mean()
    total = [str((kind >= 0).sum()), f"{recall:.2f}", f"{precision:.2f}"]
    return [*rows, [name, "all", *total]]


def measure_found(arguments):
    """Print precision and recall on the sets, their labels spoilt."""
    initial = load_landmarker(SHIPPED) if arguments.init else None
    settings = Settings(epochs=arguments.epochs, batch_size=SUSPECT_BATCH)
    rows = []
    for name in arguments.set:
        file, faces = load(name, initial)
        spoilt, kind = spoil(faces.key_points)
        start = "_init" if initial else ""
        kept = arguments.keep / f"{name}{start}_spoilt_{settings.epochs}.npz"
        judged = judge(file, faces._replace(key_points=spoilt), initial, settings, kept)
        rows += score(name, judged, kind)
        # The labels as they were, by the same networks: what of them are suspects?
        before = judge(file, faces, initial, settings, kept)
        worst = np.where(before.suspect, before.in_spreads, 0).max(1)
        listed = [i for i in np.argsort(-worst) if worst[i] > 0]
        rmse = np.sqrt((before.errors**2).mean() / 2)
        print(
            f"{name}: {len(faces.rows)} faces, RMSE {rmse:.2f} px; of their {kind.size} labels as"
            f" they were {before.suspect.sum()} are suspects, in {len(listed)} rows, the worst of"
            f" them {', '.join(str(faces.rows[i]) for i in listed[:6])}"
        )
    print(common.markdown(["faces", "labels spoilt", "number", "found", "precision"], rows))


# --- gain ----------------------------------------------------------------------------------------


def measure_gain(arguments):
    """Print the error on the hand-labelled faces with and without Kaggle's suspects."""
    settings = Settings(epochs=arguments.epochs, batch_size=SUSPECT_BATCH)
    faces = load_training(common.KAGGLE)
    kept = arguments.keep / f"kaggle_{settings.epochs}.npz"
    judged = judge(faces, faces, None, settings, kept)
    masked = np.where(judged.suspect[..., None], np.nan, faces.key_points)
    print(f"{judged.suspect.sum()} of {judged.suspect.size} labels of Kaggle's file are suspects")
    pictures, truth, _ = hand_labelled(common.SHARED)
    scored = faces.take(np.zeros(len(truth), int))._replace(pictures=pictures, key_points=truth)
    rows = []
    for seed in range(arguments.seeds):
        errors = []
        for labels in (faces.key_points, masked):
            training = faces._replace(key_points=labels)
            outcome = train(training, scored, replace(settings, seed=seed))
            errors.append(error_without_offset(predict(outcome.model, pictures, True)[0], truth))
        rows.append([str(seed), *(f"{error:.3f}" for error in errors)])
        print(f"seed {seed}: {errors[0]:.3f} px as it comes, {errors[1]:.3f} px masked", flush=True)
    print(common.markdown(["seed", "all labels, px", "suspects masked, px"], rows))


def error_without_offset(found, truth):
    """Mean distance in pixels, after each coordinate's median offset is removed."""
    off = found - truth
    return float(np.nanmean(np.linalg.norm(off - np.nanmedian(off, 0), axis=-1)))


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("How many wrong labels are found, and what masking them gains.")
    parser.add_argument(
        "--set", nargs="+", choices=("synthetic", "kaggle"), default=["synthetic", "kaggle"]
    )
    parser.add_argument("--init", action="store_true", help="start from models/pretrained.keras")
    parser.add_argument("--gain", action="store_true", help="measure what masking gains, instead")
    parser.add_argument("--seeds", type=positive(int), default=3, help="of --gain")
    parser.add_argument("--epochs", type=positive(int), default=SUSPECT_EPOCHS)
    parser.add_argument(
        "--keep", type=Path, default=Path("suspects_kept"), help="folder of the predictions"
    )
    return parser.parse_args(argv)


def run(arguments):
    """Measure what was asked for."""
    make_folder(arguments.keep)
    (measure_gain if arguments.gain else measure_found)(arguments)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
