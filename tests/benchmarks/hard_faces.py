"""Real faces that no model here was trained on: the models and MediaPipe, side by side.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/plain_cnn.py --data ../shared/data/training.csv.gz
    python tests/benchmarks/hard_faces.py --model models/pretrained.keras

Prints GitHub-markdown tables of the mean error and the share of failed faces, per set of faces
(scored_faces.py) and method; the rival is MediaPipe's Face Landmarker (mediapipe_rival.py).

The annotators of each file place "nose tip" or "eye centre" a little differently. So that no method
is charged for having learned another convention, its median offset from the labels, one per
coordinate and data file over all the scored faces of that file, is taken off its predictions
first. Not set by set: a convention does not change with the pose, and a handful of faces would
fit 30 offsets too well.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import mediapipe_rival
import numpy as np
import plain_cnn
import scored_faces
from common import markdown
from scored_faces import FILES, KAGGLE

from data.key_points import rmse
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from models.network import predict
from models.storage import load_model

# One length for all faces, about the inter-ocular distance of a frontal face in these files. The
# distance in the picture itself would not do: it shrinks as the head turns.
UNIT_PX = 40.0
FAILED = 10.0  # percent of UNIT_PX; beyond, points lie on the wrong part of the face

# --- errors --------------------------------------------------------------------------------------


def without_offsets(predicted, faces):
    """The predictions less their median offset from the labels, per file and coordinate."""
    predicted = predicted.copy()
    for source in np.unique(faces.source):
        rows = faces.source == source
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # points a file never labels: all NaN
            offset = np.nanmedian(predicted[rows] - faces.truth[rows], axis=0)
        predicted[rows] -= np.nan_to_num(offset)
    return predicted


def face_errors(predicted, truth):
    """Mean distance over a face's labelled points in percent of UNIT_PX, (N,); NaN if not found."""
    found = np.isfinite(predicted).all((1, 2))
    errors = np.full(len(truth), np.nan)
    distance = np.linalg.norm(predicted[found] - truth[found], axis=-1)
    errors[found] = 100 / UNIT_PX * np.nanmean(distance, axis=1)
    return errors


POINT_GROUPS = {
    "eye centres": slice(0, 2),
    "eye corners": slice(2, 6),
    "brows' ends": slice(6, 10),
    "nose tip": slice(10, 11),
    "mouth corners": slice(11, 13),
    "top lip": slice(13, 14),
    "bottom lip": slice(14, 15),
}


def point_errors(moved, faces):
    """Mean error in percent of UNIT_PX by file and kind of point, of each method.

    Returns {(file, kind): {method: {"points": labelled and found, "mean": their error}}}; kinds
    that a file does not label are left out.
    """
    report = {}
    for source, file in enumerate(FILES):
        for kind, points in POINT_GROUPS.items():
            rows = faces.source == source
            for method, predicted in moved.items():
                far = np.linalg.norm(predicted[rows, points] - faces.truth[rows, points], axis=-1)
                far = far[np.isfinite(far)]
                if far.size:
                    result = {"points": int(far.size), "mean": float(100 / UNIT_PX * far.mean())}
                    report.setdefault((file, kind), {})[method] = result
    return report


def shared_error(one, other, truth, near=6.0):
    """The common part of two methods' errors, in pixels.

    Where two independent methods are off by the same vector, the label is wrong or the face misled
    both. Their own errors cancel out in the mean of the errors' scalar product, which estimates the
    labels' variance, if anything too high.

    Args:
        one, other, truth: (N, 15, 2) pixels; NaN where not labelled or not found.
        near: points on which either is further off than this are left out: those are outliers.

    Returns:
        Root mean squares of one's error, of the other's and of the common part.
    """
    one, other = one - truth, other - truth
    with np.errstate(invalid="ignore"):
        both = np.maximum(np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)) < near
    products = [(a * b).sum(-1)[both].mean() for a, b in ((one, one), (other, other), (one, other))]
    return tuple(float(np.sqrt(max(product, 0))) for product in products)


def summary(errors, draws=1000):
    """The figures of a set: the mean error over the found faces with its bootstrap 95 % interval,
    and the percentage of all faces that failed, including those not found."""
    found = errors[np.isfinite(errors)]
    result = {"faces": len(errors), "found": len(found), "mean": None, "interval": None}
    if found.size:
        rng = np.random.default_rng(0)
        means = found[rng.integers(len(found), size=(draws, len(found)))].mean(1)
        result["mean"] = float(found.mean())
        result["interval"] = np.percentile(means, (2.5, 97.5)).tolist()
    result["failed"] = float(100 * np.mean(~(errors <= FAILED))) if errors.size else None
    return result


def cell(result, verbose):
    """The table's text for one set and method."""
    if result["mean"] is None:
        return "–"
    low, high = result["interval"]
    between = f" [{low:.2f}, {high:.2f}]" if verbose else ""
    return f"{result['mean']:.2f}{between} ({result['failed']:.1f})"


####
# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Score models and MediaPipe on real faces they were not trained on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help=".keras files to score",
    )
    add(
        "--plain-cnn",
        type=Path,
        metavar="PATH",
        help="the plain CNN to compare with; unset: models/plain_cnn.keras, if it exists",
    )
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average a model's predictions of each picture and its mirror image",
    )
    scored_faces.add_arguments(parser)
    add(
        "--any-split",
        action="store_true",
        help="only warn if a model was trained on faces that it is scored on: for experiments",
    )
    add(
        "--mediapipe",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"score {mediapipe_rival.MEDIAPIPE} too",
    )
    mediapipe_rival.add_arguments(parser)
    add("--mediapipe-variants", action="store_true", help="compare its settings")
    add("--verbose", action="store_true", help="with bootstrap 95 %% intervals of the means")
    add("--out", type=Path, metavar="JSON", help="write all figures there too")
    return parser.parse_args(argv)


# --- steps ---------------------------------------------------------------------------------------


def run(arguments):
    """Load, predict, score, print."""
    check_arguments(arguments)
    python = None
    if arguments.mediapipe:  # before the long work: it may fail
        python = mediapipe_rival.make_environment(
            arguments.mediapipe_env, arguments.mediapipe_python
        )
    faces, split = scored_faces.load_scored(arguments.shared, arguments.wild)
    methods, rivals = predict_all(arguments, faces, split, python)
    moved = {name: without_offsets(predicted, faces) for name, predicted in methods.items()}
    errors = {name: face_errors(predicted, faces.truth) for name, predicted in moved.items()}
    sets = scored_faces.face_sets(faces)
    report = {"unit_px": UNIT_PX, "failed_above": FAILED, "mirror": arguments.mirror}
    report |= print_sets(errors, sets, rivals, arguments.verbose)
    report["by_point"] = print_points(moved, faces)
    report["kaggle_rmse_px"] = print_rmse(methods, moved, faces)
    if rivals and arguments.model:
        report["shared_px"] = print_shared(moved, faces, sets, next(iter(moved)), rivals[0])
    unknown = np.isnan(faces.yaw) & sets["LFW and AFLW, held out"]
    print(f"\n{unknown.sum()} wild faces without a marked nose tip are in no set of turned faces.")
    if arguments.out:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        replace_file(arguments.out, lambda file: file.write_text(text, encoding="utf-8"))


def check_arguments(arguments):
    """Raise InputError if a file is missing or there is nothing to score."""
    require = scored_faces.require
    for path in arguments.model:
        require(path, "train it with model_builder.py")
    if arguments.plain_cnn:
        require(arguments.plain_cnn, "train it with tests/benchmarks/plain_cnn.py")
    for name in ("training.csv.gz", "test.csv.gz", "test_hand_labels.csv"):
        require(arguments.shared / name, "give the folder that contains it with --shared")
    for name in ("lfw.csv", "aflw.csv"):
        require(arguments.wild / name, "make it with tests/benchmarks/wild_faces_csv.py")
    if not arguments.model and not arguments.mediapipe:
        raise InputError("there is nothing to score: give --model, or leave out --no-mediapipe.")
    if arguments.out:
        make_folder(arguments.out.parent)


def predict_all(arguments, faces, split, python):
    """Every method's predictions (N, 15, 2) by its name, and MediaPipe's names among these."""
    methods = {}
    for path in arguments.model:
        model, record = load_model(path)
        scored_faces.check_held_out(path, record, split, arguments.any_split)
        name = path.stem if path.stem not in methods else str(path)
        methods[name], _ = predict(model, faces.pictures, arguments.mirror)
    plain = arguments.plain_cnn or HERE / "models" / "plain_cnn.keras"
    if plain.is_file():
        model = plain_cnn.load(plain)
        methods["plain CNN"] = plain_cnn.predict(model, faces.pictures, arguments.mirror)
    if not arguments.mediapipe:
        return methods, []
    rivals = mediapipe_rival.predictions(python, faces.pictures, arguments.mediapipe_variants)
    return methods | rivals, list(rivals)


def print_sets(errors, sets, rivals, verbose):
    """Print the tables of all sets, over all faces and over those that MediaPipe finds.

    errors: (N,) by method; sets: masks (N,) by name; rivals: names of methods that may find none.
    """
    explained = (
        f"mean error in % of {UNIT_PX:.0f} px, in brackets the share of faces above {FAILED:.0f} %,"
    )
    note = " (mean over the faces found; one not found is a failed one)" if rivals else ""
    results = {name: score_set(errors, mask) for name, mask in sets.items()}
    print(f"\nAll faces: {explained} also in %{note}.\n")
    print_table(results, sets, rivals, verbose)
    report = {"all": results}
    if rivals:
        found = np.all([np.isfinite(errors[method]) for method in rivals], axis=0)
        masks = {name: mask & found for name, mask in sets.items()}
        report["found"] = {name: score_set(errors, mask) for name, mask in masks.items()}
        print(f"\nOnly faces that MediaPipe finds: {explained} also in %.\n")
        print_table(report["found"], masks, [], verbose)
    return report


def score_set(errors, mask):
    """What a table says of a set, by method."""
    return {method: summary(values[mask]) for method, values in errors.items()}


def print_table(results, masks, counted, verbose):
    """Print a table of sets; how many faces were found, for the methods `counted`."""
    rows = []
    for name, result in results.items():
        counts = [masks[name].sum(), *(result[method]["found"] for method in counted)]
        cells = [cell(values, verbose) for values in result.values()]
        rows.append([name, *(f"{count:,}" for count in counts), *cells])
    methods = next(iter(results.values()))
    header = ["set", "faces", *(f"{method} finds" for method in counted), *methods]
    print(markdown(header, rows), flush=True)


def print_points(moved, faces):
    """Print the errors by file and kind of point; returns them."""
    report = point_errors(moved, faces)
    rows = [
        [f"{source}, {name}", f"{next(iter(result.values()))['points']:,}"]
        + [f"{result[method]['mean']:.2f}" for method in moved]
        for (source, name), result in report.items()
    ]
    print(f"\nBy point: mean error in % of {UNIT_PX:.0f} px over the points found.\n")
    print(markdown(["file, points", "points", *moved], rows), flush=True)
    return {", ".join(key): value for key, value in report.items()}


def print_rmse(methods, moved, faces):
    """Print the RMSE on the held-out faces of Kaggle's file, before and after `without_offsets`."""
    rows, report = [], {}
    for method, predicted in methods.items():
        seen = (faces.source == KAGGLE) & np.isfinite(predicted).all((1, 2))
        figures = [rmse(p[seen], faces.truth[seen]) for p in (predicted, moved[method])]
        report[method] = {
            "faces": int(seen.sum()),
            "as_predicted": figures[0],
            "offset_removed": figures[1],
        }
        rows.append([method, f"{seen.sum():,}", *(f"{figure:.3f}" for figure in figures)])
    print("\nKaggle training file, held out: RMSE in px.\n")
    print(markdown(["method", "faces", "as predicted", "offset removed"], rows))
    return report


def print_shared(moved, faces, sets, ours, theirs):
    """Print, by set, what the errors of two methods have in common."""
    rows, report = [], {}
    for name, mask in sets.items():
        figures = shared_error(moved[ours][mask], moved[theirs][mask], faces.truth[mask])
        report[name] = dict(zip((ours, theirs, "both"), figures, strict=True))
        best = f"{100 * (figures[2] / figures[1] - 1):.0f} %"
        rows.append([name, *(f"{figure:.2f}" for figure in figures), best])
    print(
        "\nRoot mean square distance in px over the points that both find within 6 px, and what"
        " both errors have in common, mostly the labels' noise: no method can get below that; last,"
        f" how far below {theirs} it is.\n"
    )
    print(markdown(["set", ours, theirs, "in common", "best possible"], rows))
    return report


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
