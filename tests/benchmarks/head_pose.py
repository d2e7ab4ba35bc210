"""Head pose on rendered faces, whose turns are exact, beside MediaPipe on the same pictures.

    python tests/benchmarks/head_pose.py --model models/pretrained.keras

Renders faces of identities of their own (`--seed`; the mean head and its calibration come from
others), predicts their key points, and compares yaw, pitch and roll with how each head is turned
relative to the line from the camera to the face. Prints GitHub-markdown tables: the mean error in
degrees up to and beyond 45 degrees of any turn, then the share of the true turns that lie in the
regions that should contain 90 % of them. What "straight" means is a convention, so each method's
median offset up to 45 degrees is printed, and errors are given with it and without. MediaPipe's
turns are those of its facial transformation matrix; both are compared on the faces that it finds.
"The true points" are ours by the exact points: what is left is that heads differ.

`--calibrate` prints instead by which factors `CALIBRATION` of models/pose/least_squares.py would
have to be multiplied (its own were found with --seed 4001 --faces 1000).
"""

import argparse
import sys
import time
from pathlib import Path

import common
import mediapipe_rival
import numpy as np

from data.key_points import KEY_POINTS
from data.synthetic.rendered.faces import render_faces
from data.system.command_line import natural, positive, run_script
from models.detect.search import Detections
from models.pose.least_squares import to_angles
from models.storage import SHIPPED, load_landmarker

TURNS = "yaw", "pitch", "roll"
FRONTAL = 45  # degrees: up to this in all three
MANY = 24  # faces in a photo
IN_90 = 1.645  # standard deviations on either side that contain 90 % of a normal distribution


def true_turns(descriptions):
    """Yaw, pitch and roll in degrees, (N, 3), signs as in models/pose."""
    return np.array([(d.seen_yaw, d.seen_pitch, -d.seen_roll) for d in descriptions])


def our_turns(points, spread, names=KEY_POINTS, mean_face=None):
    """Yaw, pitch and roll in degrees and their standard deviations, (N, 3) each, by key points
    (N, K, 2) and their spread (N, K)."""
    poses = Detections(points, spread, names, mean_face).head_poses
    return np.column_stack(poses[:3]), np.column_stack(poses[3:6])


def rival_turns(python, pictures):
    """MediaPipe's turns (N, 3), NaN where it finds no face."""
    matrices = mediapipe_rival.find_matrices(python, pictures)[:, :3, :3]
    turns = np.full((len(matrices), 3), np.nan)
    found = np.isfinite(matrices[:, 0, 0])
    scales = np.cbrt(np.linalg.det(matrices[found]))[:, None, None]
    turns[found] = np.degrees(to_angles(matrices[found] / scales)).T
    return turns


def difference(turns, truth):
    """By how much turns (N, 3) differ from the true ones, -180 .. 180."""
    return (turns - truth + 180) % 360 - 180


def error_rows(name, turns, truth):
    """The rows of the table of errors for one method's turns (N, 3)."""
    errors, frontal = difference(turns, truth), (np.abs(truth) <= FRONTAL).all(1)
    offset = np.median(errors[frontal], 0)
    far = np.abs(errors[~frontal]).mean(0)
    rows = []
    for k, turn in enumerate(TURNS):
        mean, without = (np.abs(errors[frontal, k] - o).mean() for o in (0, offset[k]))
        figures = f"{mean:.2f}", f"{without:.2f}", f"{offset[k]:+.2f}", f"{far[k]:.2f}"
        rows.append([f"{name}: {turn}", f"{frontal.sum():,}", *figures, f"{(~frontal).sum():,}"])
    return rows


def coverage_rows(turns, deviations, truth):
    """The rows of the table of coverages, in %, for turns and their deviations (N, 3)."""
    inside = np.abs(difference(turns, truth)) < IN_90 * deviations
    frontal = (np.abs(truth) <= FRONTAL).all(1)
    sets = {"all": np.full(len(truth), True), "frontal": frontal, "farther": ~frontal}
    return [
        [turn, *(f"{100 * inside[mask, k].mean():.1f}" for mask in sets.values())]
        for k, turn in enumerate(TURNS)
    ]


def milliseconds(points, spread, names, mean_face):
    """The time that a pose takes, of a face alone and of one among `MANY`: the least of 200."""
    times = []
    for count in (1, MANY):
        taken = []
        for _ in range(200):
            start = time.perf_counter()
            our_turns(points[:count], spread[:count], names, mean_face)
            taken.append(time.perf_counter() - start)
        times.append(1000 * min(taken) / len(points[:count]))
    return times


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Measure the head pose on rendered faces, beside MediaPipe.")
    add = parser.add_argument
    add("--model", type=Path, default=SHIPPED, help="a trained model")
    add("--faces", type=positive(int), default=800, help="faces to render")
    add("--seed", type=natural, default=4002, help="another number gives other identities")
    add("--calibrate", action="store_true", help="only print factors for CALIBRATION")
    add(
        "--mediapipe",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"measure {mediapipe_rival.MEDIAPIPE} too",
    )
    mediapipe_rival.add_arguments(parser)
    return parser.parse_args(argv)


def run(arguments):
    """Render, predict, compare, print."""
    landmarker = load_landmarker(arguments.model)
    faces = render_faces(arguments.faces, arguments.seed)
    truth = true_turns(faces.descriptions)
    points, spread = landmarker.predict(faces.pictures)
    turns, deviations = our_turns(points, spread, landmarker.names, landmarker.mean_face)
    if arguments.calibrate:
        ratio = np.abs(difference(turns, truth)) / deviations
        print("multiply by", *np.round(np.quantile(ratio, 0.9, axis=0) / IN_90, 3))
        return
    name = arguments.model.name
    exact, _ = our_turns(faces.key_points, np.zeros(faces.key_points.shape[:2]))
    rows = error_rows(name, turns, truth) + error_rows("the true points", exact, truth)
    if arguments.mediapipe:
        python = mediapipe_rival.make_environment(
            arguments.mediapipe_env, arguments.mediapipe_python
        )
        rival = rival_turns(python, faces.pictures)
        both = np.isfinite(rival).all(1)
        print(f"MediaPipe finds {both.sum()} of {len(both)} faces.\n")
        rows += error_rows(f"{name}, where MediaPipe finds the face", turns[both], truth[both])
        rows += error_rows("MediaPipe", rival[both], truth[both])
    header = [f"mean error up to {FRONTAL}°", "faces", "as it is", "without the median offset"]
    print(common.markdown([*header, "offset", "beyond", "faces"], rows) + "\n")
    header = ["in the 90 % region, %", "all", f"up to {FRONTAL}°", "beyond"]
    print(common.markdown(header, coverage_rows(turns, deviations, truth)))
    alone, among = milliseconds(points, spread, landmarker.names, landmarker.mean_face)
    print(f"\nA face takes {alone:.2f} ms alone, {among:.2f} ms among {MANY}.")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
