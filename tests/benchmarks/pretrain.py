"""Make models/pretrained.keras again, from the two files of real faces: one command, some hours.

    python tests/benchmarks/pretrain.py --kaggle training.zip --archive wild_faces.npz

It runs, in turn, what can also be typed by hand: the wild faces become CSVs, heads are turned in
3-D, synthetic faces are made, a network learns Kaggle's faces alone, and goes on from there over all of
them. A step whose outcome is there already is not done again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import common  # noqa: F401

from data.command_line import run_script
from data.files import HERE, InputError, make_folder

EPOCHS, LEARNING_RATE = 16, 0.0015  # over all files; not tuned, it was still falling


def steps(kaggle, archive, folder, model):
    """The commands in order, each with the file that it leaves behind."""
    here = HERE / "tests" / "benchmarks"
    first = folder / "kaggle_only.keras"
    wild, made = [folder / "lfw.csv", folder / "aflw.csv"], folder / "made" / "training.csv"
    turned = [folder / f"turned_{source}.csv" for source in ("kaggle", "lfw", "aflw")]
    builder = [HERE / "model_builder.py", "--data", kaggle]
    every = [*builder, *wild, *turned, made, "--init", first, "--epochs", EPOCHS]
    return [
        (wild[-1], [here / "wild_faces_csv.py", archive, "--out", folder]),
        (turned[-1], [here / "turned_faces_csv.py", "--kaggle", kaggle, "--wild", folder]),
        (
            made,
            [HERE / "data" / "synthetic_faces.py", "--train", 4000, "--test", 0, "--seed", 100]
            + ["--out", made.parent],
        ),
        (first, [*builder, "--model", first, "--results", folder / "kaggle_only"]),
        (
            model,
            [*every, "--learning-rate", LEARNING_RATE, "--model", model]
            + ["--results", folder / "all"],
        ),
    ]


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Make the shipped model again.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    shared = HERE.parent / "shared" / "data"
    add("--kaggle", type=Path, default=shared / "training.csv.gz", help="Kaggle's training file")
    add("--archive", type=Path, default=shared / "wild_faces.npz", help="see wild_faces_csv.py")
    add("--folder", type=Path, default=HERE / "data", help="for all that is made on the way")
    add("--model", type=Path, default=HERE / "models" / "my_model.keras", help="where to save")
    return parser.parse_args(argv)


def run(arguments):
    """Do the steps that are not done yet."""
    for path in (arguments.kaggle, arguments.archive):
        if not path.is_file():
            raise InputError(f"{path} does not exist; give its path, see --help.")
    make_folder(arguments.folder)
    for outcome, command in steps(
        arguments.kaggle, arguments.archive, arguments.folder, arguments.model
    ):
        command = [sys.executable, *map(str, command)]
        if outcome.exists():
            print(f"{outcome} is there already.")
            continue
        print("+ " + " ".join(command[1:]), flush=True)
        if subprocess.run(command).returncode:
            raise InputError(f"the step that makes {outcome} failed; its message is above.")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
