"""Convert the wild faces, an archive of JPEGs, to two CSVs in Kaggle's format.

    python tests/benchmarks/wild_faces_csv.py [ARCHIVE] [--out data]

Writes `lfw.csv` and `aflw.csv`: the 30 coordinates, empty where a point is not labelled, then
`identity`, the person, then `Image`. Other data can be converted in the same way, to train on it
together with Kaggle's; the archive needs the arrays that `load_archive` describes.
"""

import argparse
import csv
import io
import sys
import zipfile
from pathlib import Path

import common  # noqa: F401
import numpy as np

import model_builder as mb
from data.faces import join_faces, load_training
from data.key_points import COLUMNS, SIZE
from data.split import split_faces
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder, replace_file

SOURCES = ("lfw", "aflw")
GREY = [str(value) for value in range(256)]  # a table, since 188 million grey values are written


def load_archive(path):
    """The archive's arrays as a dict; the pictures stay JPEGs, a tenth of the size of their pixels.

    `jpeg`: all files' bytes, uint8; `offset` (N + 1,): picture i is jpeg[offset[i]:offset[i + 1]];
    `key_points` (N, 15, 2) in pixels, NaN where not labelled; `identity` and `source` (N,) text.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of the archive of faces.")
    names = ("jpeg", "offset", "key_points", "identity", "source")
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in names}
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
        raise InputError(
            f"{path} is not an archive of faces: a .npz that contains {', '.join(names)}."
        ) from None


def decode(jpeg, path, row):
    """The grey values of picture `row`, bytes of length 9,216."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg)) as picture:
            if picture.size != (SIZE, SIZE):
                raise ValueError(f"it is {picture.width}x{picture.height}")
            return picture.convert("L").tobytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: picture {row} is not a {SIZE}x{SIZE} JPEG ({error}).") from None


def coordinate_texts(key_points):
    """The 30 fields of a face (15, 2); a point that `load_faces` would refuse stays empty."""
    usable = ((key_points > -SIZE) & (key_points < 2 * SIZE)).all(1)  # False for NaN too
    return [
        f"{value:.3f}" if use else ""
        for point, use in zip(key_points.tolist(), usable, strict=True)
        for value in point
    ]


def write_faces(path, archive, rows, archive_path):
    """Write the faces `rows` one by one, so that memory does not grow with their number."""
    offset, identity = archive["offset"], archive["identity"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "identity", "Image"])
        for row in rows:
            jpeg = archive["jpeg"][offset[row] : offset[row + 1]].tobytes()
            picture = " ".join([GREY[value] for value in decode(jpeg, archive_path, row)])
            points = coordinate_texts(archive["key_points"][row])
            writer.writerow([*points, identity[row], picture])


def split_real_faces(kaggle, folder):
    """Kaggle's training file and the two CSVs in `folder`, as a training with default settings
    splits them, whatever else is joined to them.

    Returns:
        Their paths, the three Faces, all of these joined, and two index arrays into the joined
        faces: to train on, and held out.
    """
    paths = (kaggle, *(folder / f"{source}.csv" for source in SOURCES))
    files = [load_training(path) for path in paths]
    everything = join_faces(files)
    default = mb.Settings()
    training, held_out = split_faces(
        everything, default.validation_split, default.further_split, default.seed
    )
    return paths, files, everything, training, held_out


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Turn the archive of wild faces into lfw.csv and aflw.csv in Kaggle's format.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = HERE.parent / "shared" / "data" / "wild_faces.npz"
    parser.add_argument("archive", nargs="?", type=Path, default=default, help="the .npz")
    parser.add_argument("--out", type=Path, default=HERE / "data", help="folder to write to")
    return parser.parse_args(argv)


def run(arguments):
    """Write the two files."""
    archive = load_archive(arguments.archive)
    make_folder(arguments.out)
    for source in SOURCES:
        rows = np.flatnonzero(archive["source"] == source)
        if not rows.size:
            raise InputError(f"{arguments.archive} has no faces of the source {source!r}.")
        path = arguments.out / f"{source}.csv"

        def write(file, rows=rows):
            write_faces(file, archive, rows, arguments.archive)

        replace_file(path, write)
        print(f"{path}: {len(rows):,} faces, {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
