"""How far labelled eye centres follow the pupil, in each file of real faces.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/eye_centres.py

Where an eye looks aside, its pupil leaves the middle of its opening. Prints a GitHub-markdown
table: by which share of that way the labelled eye centre moves, 0 for the opening's middle and 1
for the pupil. MediaPipe's mesh (mediapipe_rival.py) says where opening and pupil are, relative to
one another; the label is taken relative to the labelled corners. The share is the slope of a
regression over all labelled eyes, which MediaPipe's own errors make too small.
"""

import sys

import common
import mediapipe_rival
import numpy as np
import scored_faces

from data.key_points import KEY_POINTS
from data.system.command_line import run_script

# MediaPipe's vertices: the eye's corners and the middles of its lids, and the iris.
EYES = {"left": ((263, 362, 386, 374), 473), "right": ((33, 133, 159, 145), 468)}
OUTLIER = 8.0  # pixels


def pairs(truth, mesh, side):
    """How far pupil and label are from the opening's middle, pixels (M, 2) each, of the M faces
    with a labelled eye on that side."""
    opening, iris = EYES[side]
    pupil = mesh[:, iris] - mesh[:, opening].mean(1)
    parts = (f"{side}_eye_{part}" for part in ("center", "inner_corner", "outer_corner"))
    center, inner, outer = (truth[:, KEY_POINTS.index(name)] for name in parts)
    label = center - (inner + outer) / 2
    known = np.isfinite(np.concatenate([pupil, label], 1)).all(1)
    known &= np.abs(np.nan_to_num(label)).max(1) < OUTLIER
    return pupil[known], label[known]


def slope(x, y):
    """Of the regression of y (N,) on x (N,)."""
    return np.polyfit(x, y, 1)[0]


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("How far labelled eye centres follow the pupil.")
    scored_faces.add_arguments(parser)
    mediapipe_rival.add_arguments(parser)
    return parser.parse_args(argv)


def run(arguments):
    """Load, find MediaPipe's mesh, regress, print."""
    faces, _ = scored_faces.load_scored(arguments.shared, arguments.wild)
    python = mediapipe_rival.make_environment(arguments.mediapipe_env, arguments.mediapipe_python)
    mesh, *_ = mediapipe_rival.find_mesh(python, faces.pictures)
    rows = []
    for source, file in enumerate(scored_faces.FILES):
        own = faces.source == source
        both = [pairs(faces.truth[own], mesh[own], side) for side in EYES]
        eyes = sum(len(pupil) for pupil, _ in both)
        row = [file, f"{eyes:,}"]
        for axis in (0, 1):
            row.append(" and ".join(f"{slope(p[:, axis], y[:, axis]):.2f}" for p, y in both))
        rows.append(row)
    print(common.markdown(["file", "eyes", "across, left and right eye", "up and down"], rows))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
