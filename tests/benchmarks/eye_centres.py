"""How far labelled eye centres follow the pupil, in each file of real training faces.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/eye_centres.py

Where an eye looks aside, its pupil leaves the middle of its opening. Prints a GitHub-markdown
table: what fraction of that distance the labelled eye centre moves, 0 for the opening's middle and
1 for the pupil. The label is taken relative to the labelled corners; MediaPipe's mesh
(mediapipe_rival.py) says where the pupil and the opening's middle are, relative to its own corners.
The fraction is the pupil's coefficient in a regression over all labelled eyes, attenuated by
MediaPipe's errors. Held-out faces are left out: they measure what was chosen by this.
"""

import sys

import common
import mediapipe_rival
import numpy as np
import scored_faces
import wild_faces_csv

from data.key_points import KEY_POINTS
from data.labels import kaggle
from data.system.command_line import positive, run_script

OUTLIER = 8.0  # pixels


def follows_pupil(truth, mesh, side):
    """Of N faces, labelled points (N, 15, 2) and meshes (N, 478, 2): how many eyes on that side are
    labelled, and which fraction their centres follow the pupil across and down."""
    opening, iris = mediapipe_rival.EYES[side]
    middle, corners = mesh[:, opening].mean(1), mesh[:, opening[:2]].mean(1)
    parts = (f"{side}_eye_{part}" for part in ("center", "inner_corner", "outer_corner"))
    center, inner, outer = (truth[:, KEY_POINTS.index(name)] for name in parts)
    label, pupil, opened = center - (inner + outer) / 2, mesh[:, iris] - middle, middle - corners
    known = np.isfinite(np.concatenate([pupil, label], 1)).all(1)
    known &= np.abs(np.nan_to_num(label)).max(1) < OUTLIER
    fractions = []
    for axis in (0, 1):
        x = np.stack([pupil[known, axis], opened[known, axis], np.ones(known.sum())], 1)
        fractions.append(np.linalg.lstsq(x, label[known, axis])[0][0])
    return known.sum(), *fractions


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("How far labelled eye centres follow the pupil.")
    scored_faces.add_arguments(parser)
    mediapipe_rival.add_arguments(parser)
    parser.add_argument("--faces", type=positive(int), default=1500, help="of each file at most")
    return parser.parse_args(argv)


def run(arguments):
    """Load, find MediaPipe's mesh, regress, print."""
    csv = arguments.shared / "training.csv.gz"
    _, files, everything, training, _ = wild_faces_csv.split_real_faces(csv, arguments.wild)
    faces = everything.take(training)
    scored_faces.mask_inconsistent(faces, kaggle.drop_inconsistent(files[0]))
    python = mediapipe_rival.make_environment(arguments.mediapipe_env, arguments.mediapipe_python)
    rows = []
    for i, file in enumerate(("Kaggle's", "LFW", "AFLW")):
        part = faces.take(np.flatnonzero(faces.file == i))
        order = np.random.default_rng(0).permutation(len(part.rows))[: arguments.faces]
        part = part.take(order)
        mesh, *_ = mediapipe_rival.find_mesh(python, part.pictures)
        left, right = (follows_pupil(part.key_points, mesh, side) for side in mediapipe_rival.EYES)
        cells = (f"{a:.2f} and {b:.2f}" for a, b in zip(left[1:], right[1:], strict=True))
        rows.append([file, f"{left[0] + right[0]:,}", *cells])
    header = ["training faces", "eyes", "across, left and right eye", "up and down"]
    print(common.markdown(header, rows))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
