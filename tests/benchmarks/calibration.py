"""Calibration of the spread on faces that no training saw.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/calibration.py --model models/pretrained.keras

Prints two GitHub-markdown tables. The first says, for the sets of scored_faces.py, which share of
the true points lies within the regions that should contain 50, 80, 90 and 95 % of them, and by how
much the RMSE falls when the fifth of the points with the largest spread is left out, beside the
most that any ranking could gain. As in hard_faces.py, the model's median offset from each file's
labels is taken off first: the spread is about where the point is, not about an annotator's
convention.

The second says how well pictures without a face are distinguished from faces, by the root mean
square of a picture's spreads: the area under the ROC curve, and the share of non-faces above all
but 1 % of the faces. The landscapes are crops of the photos that come with scikit-learn.
"""

import argparse
import json
import sys
from pathlib import Path

import common
import hard_faces
import numpy as np
import scored_faces

from data.key_points import SIZE
from data.system.command_line import positive, run_script
from data.system.files import replace_file
from models.network import predict
from models.spread import face_spread
from models.storage import SHIPPED, load_model
from results.measures import measure_spread, point_errors, sparsification


def landscapes(count, rng):
    """Square crops, 60 to 400 pixels wide, of a palace and of a flower, uint8 (count, 96, 96)."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo).convert("L") for photo in load_sample_images().images]
    crops = []
    for i in range(count):
        photo, side = photos[i % len(photos)], int(rng.integers(60, 400))
        left, top = rng.integers(photo.width - side), rng.integers(photo.height - side)
        crop = photo.crop((left, top, left + side, top + side))
        crops.append(np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.LANCZOS)))
    return np.stack(crops)


def pictures_without_a_face(count, seed=0):
    """Name and pictures (count, 96, 96) of each kind; none of them is drawn as in training."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    grey = rng.uniform(0, 255, (count, 1, 1))
    slope_x, slope_y = rng.uniform(-60, 60, (2, count, 1, 1))
    contrast = rng.uniform(5, 60, (count, 1, 1))
    shape = (count, SIZE, SIZE)
    return {
        "blank": np.broadcast_to(grey, shape),
        "shaded": np.clip(128 + slope_x * x + slope_y * y, 0, 255),
        "noise": np.clip(rng.normal(128, contrast, shape), 0, 255),
        "landscape": landscapes(count, rng),
    }


def told_apart(faces, others):
    """Area under the ROC curve, and share of `others` above all but 1 % of `faces`; (M,) each."""
    from sklearn.metrics import roc_auc_score

    is_other = np.repeat([0, 1], [len(faces), len(others)])
    area = roc_auc_score(is_other, np.concatenate([faces, others]))
    return float(area), float((others > np.quantile(faces, 0.99)).mean())


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Measure a model's spread on real faces and on pictures without a face.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=SHIPPED, help="the .keras file")
    scored_faces.add_arguments(parser)
    add("--non-faces", type=positive(int), default=1000, help="pictures of each kind")
    add("--any-split", action="store_true", help="see hard_faces.py")
    add("--out", type=Path, metavar="JSON", help="write all figures there too")
    return parser.parse_args(argv)


def run(arguments):
    """Load, predict, measure, print."""
    faces, split = scored_faces.load_scored(arguments.shared, arguments.wild)
    model, record = load_model(arguments.model)
    scored_faces.check_held_out(arguments.model, record, split, arguments.any_split)
    predicted, spread = predict(model, faces.pictures, mirror=True)
    moved = hard_faces.without_offsets(predicted, faces)
    report, rows = {"sets": {}, "non_faces": {}}, []
    sets = {"all of them": np.ones(len(faces.source), bool)} | scored_faces.face_sets(faces)
    for name, mask in sets.items():
        part = moved[mask], spread[mask], faces.truth[mask]
        errors = point_errors(part[0], part[2])
        labelled = np.isfinite(errors)
        whole, best = sparsification(errors[labelled], errors[labelled], (0, 0.2))
        figures = measure_spread(*part) | {"lowered_at_best_by": 1 - best / whole}
        report["sets"][name] = figures
        shares = [f"{100 * share:.1f}" for share in figures["coverage"].values()]
        falls = [f"{100 * figures[key]:.0f}" for key in ("lowered_by", "lowered_at_best_by")]
        rows.append([name, f"{mask.sum():,}", *shares, *falls])
    header = ["set", "faces", *(f"in the {share} region, %" for share in figures["coverage"])]
    header += ["RMSE without the least certain fifth lower by, %", "at best"]
    print(common.markdown(header, rows) + "\n")

    rows = []
    of_faces = face_spread(spread)
    worst = float(np.quantile(of_faces, 0.99))
    report["faces_99_percent_px"] = worst
    for name, pictures in pictures_without_a_face(arguments.non_faces).items():
        others = face_spread(predict(model, pictures, mirror=True)[1])
        area, share = told_apart(of_faces, others)
        report["non_faces"][name] = {
            "auroc": area,
            "told_apart": share,
            "median_px": float(np.median(others)),
        }
        rows.append([name, f"{len(others):,}", f"{area:.4f}", f"{100 * share:.1f}"])
        rows[-1].append(f"{np.median(others):.1f}")
    header = ["without a face", "pictures", "AUROC", "detected at 1 % false positives, %"]
    print(common.markdown([*header, "median spread, px"], rows))
    print(f"\nFaces: median spread {np.median(of_faces):.2f} px, 99 % below {worst:.2f} px.")
    if arguments.out:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        replace_file(arguments.out, lambda file: file.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
