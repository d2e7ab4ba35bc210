"""Does a point mean the same in every picture? Predicted lips and eyes, by annotator and style.

    python tests/benchmarks/consistency.py --model models/pretrained.keras models/my_model.keras

Three annotators labelled Kaggle's file (data/labels/kaggle.py), each of them pictures of another
look: a network trained on all of them may recognize the annotator by the look. So the held-out
faces of each part are predicted as they are and in other styles, and two lengths are measured: the
distance between the lips where the mouth is closed, and the width of the eyes. If the points mean
the same everywhere, these agree between the parts, as far as the people do, and hardly change with
the style.

A mouth is closed if MediaPipe's inner lips are less than 0.03 apart. MediaPipe is measured too.
Prints GitHub-markdown tables; lengths are in units of the predicted inter-ocular distance.
"""

import argparse
import io
import json
import sys
from pathlib import Path

import common
import mediapipe_rival
import numpy as np
import scored_faces

import model_builder as mb
from data.faces import join_faces, load_training
from data.key_points import KEY_POINTS, SIZE, interocular_distance
from data.labels import kaggle
from data.split import split_faces
from data.system.command_line import run_script
from data.system.files import HERE, InputError, replace_file
from models.network import predict
from models.storage import SHIPPED, load_model

CLOSED = 0.03  # distance between MediaPipe's inner lips, in eye distances
INNER_LIPS = 13, 14  # its vertices

# --- styles --------------------------------------------------------------------------------------


def darker(picture):
    """Half as bright."""
    return picture // 2


def blurred(picture):
    """Out of focus by a Gaussian of 1.5 pixels."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5)))


def poor_jpeg(picture):
    """Through JPEG at quality 15."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=15)
    return np.asarray(Image.open(buffer))


def wider_crop(picture):
    """The face 10 % smaller, the border continued outwards."""
    from PIL import Image

    border = round(0.05 * SIZE)
    wide = Image.fromarray(np.pad(picture, border, mode="edge"))
    return np.asarray(wide.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def from_colour(picture):
    """Tinted as skin in warm light, and made grey by a camera that sees little blue."""
    grey = picture / 255
    red, green, blue = grey**0.7, grey, grey**1.6
    return np.rint(255 * (0.2 * red + 0.3 * green + 0.5 * blue)).astype(np.uint8)


STYLES = {
    "as it is": lambda picture: picture,
    "darker": darker,
    "blurred": blurred,
    "poor JPEG": poor_jpeg,
    "cropped 10 % wider": wider_crop,
    "from colour": from_colour,
}

# --- measures ------------------------------------------------------------------------------------


def lip_distance(key_points):
    """From the top lip's centre to the bottom lip's, in eye distances, (N,)."""
    return scored_faces.mouth_opening(key_points)


def eye_width(key_points):
    """From an eye's inner to its outer corner, both eyes' mean, in eye distances, (N,)."""
    inner, outer = (
        key_points[:, [KEY_POINTS.index(f"{side}_eye_{end}_corner") for side in ("left", "right")]]
        for end in ("inner", "outer")
    )
    width = np.linalg.norm(inner - outer, axis=-1).mean(1)
    return width / interocular_distance(key_points)


def held_out_faces(path):
    """The held-out Faces of Kaggle's file by the default split, and their annotators, 0 .. 2."""
    faces = load_training(path)
    first_rows = kaggle.first_rows(faces)
    if first_rows is None:
        raise InputError(f"{path} is not Kaggle's training file; give that.")
    default = mb.Settings()
    joined = join_faces([faces])
    _, chosen = split_faces(joined, default.validation_split, seed=default.seed)
    held_out = joined.take(chosen)
    return held_out, np.searchsorted(first_rows, held_out.rows, side="right") - 1


def closed_mouths(mesh):
    """Mask (N,) of the faces whose inner lips touch, by MediaPipe's mesh (N, 478, 2)."""
    eyes = [
        mesh[:, mediapipe_rival.VERTICES[f"{side}_eye_center"]].mean(1)
        for side in ("left", "right")
    ]
    top, bottom = (mesh[:, vertex] for vertex in INNER_LIPS)
    apart = np.linalg.norm(top - bottom, axis=-1) / np.linalg.norm(eyes[0] - eyes[1], axis=-1)
    return apart < CLOSED  # False where no face was found


def compare(methods, annotators, closed):
    """The figures of the tables, from predictions {method: {style: (N, 15, 2)}}.

    Returns {method: {"lips" or "eyes": {style: {"median": by annotator, "change": by
    annotator}}}}: the median over the faces of that part, lips where the mouth is closed, and the
    median over its faces of what the style adds to the same face.
    """
    report = {}
    for method, found in methods.items():
        report[method] = {}
        for name, measure, among in (
            ("lips", lip_distance, closed),
            ("eyes", eye_width, np.ones_like(closed)),
        ):
            plain = measure(found["as it is"])
            report[method][name] = {
                style: {
                    key: [float(np.nanmedian(values[among & (annotators == h)])) for h in range(3)]
                    for key, values in (
                        ("median", measure(points)),
                        ("change", measure(points) - plain),
                    )
                }
                for style, points in found.items()
            }
    return report


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Measure whether lips and eyes are predicted alike whatever a picture's look.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    shared = HERE.parent / "shared" / "data" / "training.csv.gz"
    add("--model", type=Path, nargs="+", default=[SHIPPED], help=".keras files")
    add("--kaggle", type=Path, default=shared, help="Kaggle's training file")
    mediapipe_rival.add_arguments(parser)
    add("--out", type=Path, metavar="JSON", help="write all figures there too")
    return parser.parse_args(argv)


def run(arguments):
    """Load, restyle, predict, measure, print."""
    python = mediapipe_rival.make_environment(arguments.mediapipe_env, arguments.mediapipe_python)
    faces, annotators = held_out_faces(arguments.kaggle)
    styled = {
        style: np.stack([restyle(picture) for picture in faces.pictures])
        for style, restyle in STYLES.items()
    }
    models = {str(path): load_model(path)[0] for path in arguments.model}
    methods = {
        name: {style: predict(model, faces, mirror=True)[0] for style, faces in styled.items()}
        for name, model in models.items()
    }
    meshes = {style: mediapipe_rival.find_mesh(python, faces)[0] for style, faces in styled.items()}
    methods["MediaPipe"] = {
        style: np.stack([mesh[:, mediapipe_rival.VERTICES[p]].mean(1) for p in KEY_POINTS], 1)
        for style, mesh in meshes.items()
    }
    closed = closed_mouths(meshes["as it is"])
    report = compare(methods, annotators, closed)
    counts = [f"{(annotators == h).sum()} ({(closed & (annotators == h)).sum()})" for h in range(3)]
    print(f"Held-out faces of the three parts (with closed mouths): {', '.join(counts)}.")
    for name, title in (
        ("lips", "Closed mouths: distance between the lips"),
        ("eyes", "Width of the eyes, from corner to corner"),
    ):
        print(f"\n{title}, median by part; in brackets what the style adds to the same face.\n")
        rows = [
            [method, style]
            + [
                f"{median:.3f}" + (f" ({change:+.3f})" if style != "as it is" else "")
                for median, change in zip(result["median"], result["change"], strict=True)
            ]
            for method in methods
            for style, result in report[method][name].items()
        ]
        print(common.markdown(["", "style", "part 1", "part 2", "part 3"], rows), flush=True)
    if arguments.out:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        replace_file(arguments.out, lambda file: file.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
