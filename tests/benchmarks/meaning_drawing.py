"""Draw what each key point means, on a synthetic face: data/key_points.png.

    python tests/benchmarks/meaning_drawing.py

The face is one of data/synthetic/faces.py, where every point is exact by construction.
"""

import argparse
import sys
from pathlib import Path

import common  # noqa: F401

from data.key_points import KEY_POINTS, SIZE
from data.synthetic.faces import draw_face
from data.system.command_line import run_script
from data.system.files import HERE, replace_file

FACE = (7, 656)  # seed and number of a face that looks ahead, with lips that show
# The text beside a point, and where it is, in the face's pixels; both sides are alike.
NOTES = {
    "left_eye_center": ("eye centre: between\nthe pupil and the\nmiddle of the opening", (104, 52)),
    "left_eye_outer_corner": ("outer eye corner:\nthe lids meet", (104, 39)),
    "right_eye_inner_corner": ("inner eye corner:\nthe lids meet", (-9, 47)),
    "left_eyebrow_outer_end": ("outer end\nof the brow's hair", (104, 25)),
    "right_eyebrow_inner_end": ("inner end\nof the brow's hair", (-9, 25)),
    "nose_tip": ("nose tip:\nforemost point", (-9, 62)),
    "mouth_left_corner": ("mouth corner:\nthe lips meet", (104, 72)),
    "mouth_center_top_lip": ("top lip:\nupper edge, on\nthe middle line", (-9, 78)),
    "mouth_center_bottom_lip": ("bottom lip:\nlower edge, on\nthe middle line", (104, 88)),
}


def draw(path):
    """Write the drawing as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    picture, points = draw_face(*FACE)
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    axes.imshow(picture, cmap="gray", interpolation="bicubic", vmin=0, vmax=255)
    axes.plot(*points.T, "+", color="tab:red", markersize=9, markeredgewidth=1.6)
    for name, (text, place) in NOTES.items():
        axes.annotate(
            text,
            points[KEY_POINTS.index(name)],
            place,
            ha="left" if place[0] > 0 else "right",
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "tab:orange", "linewidth": 0.9},
        )
    axes.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5))
    axes.axis("off")
    replace_file(path, lambda file: figure.savefig(file, dpi=110))
    plt.close(figure)


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Draw what each key point means.")
    default = HERE / "data" / "key_points.png"
    parser.add_argument("--out", type=Path, default=default, help="(default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, lambda arguments: draw(arguments.out)))
