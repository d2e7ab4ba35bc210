"""Make models/pretrained.keras again: the steps that made it, as commands, one after the other.

    python tests/benchmarks/pretrain.py --kaggle training.zip --archive wild_faces.npz
    python tests/benchmarks/pretrain.py --list           # only print them

Every step can also be typed by hand. A step whose outcome is there already is not done again, and
the long one, an hour and a quarter of one core, goes on where it was stopped.

The training starts from the weights that were shipped before, which are in the history of the
repository. They came, in runs of which only the last is recorded, from Kaggle's faces alone and
then from all files with Kaggle's labels as they come; their pretrained.json and model card tell.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import common  # noqa: F401

from data.command_line import run_script
from data.files import HERE, InputError, make_folder, replace_file

BEFORE = "b1cc4a0"  # the commit of the weights that the training starts from
EPOCHS, LEARNING_RATE = 3, 0.0008  # what time allowed; the peak is that of the runs before
LIPS = ("mouth_center_top_lip", "mouth_center_bottom_lip")  # all files mark their outer edges


def steps(kaggle, archive, folder, model):
    """The commands in order, each with the file that it leaves behind."""
    here = HERE / "tests" / "benchmarks"
    python = sys.executable
    one_meaning, before = folder / "one_meaning.csv", folder / "before" / "pretrained.keras"
    wild, made = [folder / "lfw.csv", folder / "aflw.csv"], folder / "made" / "training.csv"
    turned = [folder / f"turned_{source}.csv" for source in ("kaggle", "lfw", "aflw")]
    trained = folder / "trained.keras"
    return [
        (wild[-1], [python, here / "wild_faces_csv.py", archive, "--out", folder]),
        (one_meaning, [python, HERE / "data" / "kaggle.py", kaggle, "--out", one_meaning]),
        (
            turned[-1],
            [python, here / "turned_faces_csv.py", "--kaggle", one_meaning, "--wild", folder]
            + ["--seed", 2],
        ),
        (
            made,
            [python, HERE / "data" / "synthetic_faces.py", "--train", 6000, "--test", 0]
            + ["--seed", 200, "--out", made.parent],
        ),
        (before, ["git", "-C", HERE, "show", f"{BEFORE}:models/pretrained.keras"]),
        (
            trained,
            [python, HERE / "model_builder.py", "--data", one_meaning, *wild, *turned, made]
            + ["--init", before, "--alike", *LIPS, "--epochs", EPOCHS]
            + ["--learning-rate", LEARNING_RATE, "--model", trained]
            + ["--results", folder / "trained"],
        ),
        (model, [python, here / "oldest_keras.py", trained, model]),
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
    add("--list", action="store_true", help="only print the commands")
    return parser.parse_args(argv)


def do(outcome, command):
    """Run one step; what git shows becomes the outcome, the scripts write theirs themselves.

    Raises InputError if it fails.
    """
    command = list(map(str, command))
    if command[0] == "git":
        shown = subprocess.run(command, capture_output=True)
        failed = shown.returncode or not shown.stdout
        if not failed:
            make_folder(outcome.parent)
            replace_file(outcome, lambda file: file.write_bytes(shown.stdout))
    else:
        unfinished = "--model" in command and outcome.with_suffix(".resume.npz").exists()
        failed = subprocess.run([*command, *["--resume"] * unfinished]).returncode
    if failed:
        raise InputError(f"the step that makes {outcome} failed; its message is above.")


def run(arguments):
    """Do the steps that are not done yet."""
    for path in (arguments.kaggle, arguments.archive):
        if not path.is_file() and not arguments.list:
            raise InputError(f"{path} does not exist; give its path, see --help.")
    if not arguments.list:
        make_folder(arguments.folder)
    for outcome, command in steps(
        arguments.kaggle, arguments.archive, arguments.folder, arguments.model
    ):
        if arguments.list:
            print(shlex.join(map(str, command)))
        elif outcome.exists():
            print(f"{outcome} is there already.")
        else:
            print("+ " + shlex.join(map(str, command)), flush=True)
            do(outcome, command)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
