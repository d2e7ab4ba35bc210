"""Write synthetic faces as CSVs in Kaggle's format.

python -m data.synthetic --train 2000 --test 200    # writes training.csv and test.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.synthetic.faces import make_faces
from data.system.command_line import natural, run_script
from data.system.files import HERE, InputError, make_folder
from data.tables import write_faces


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        prog="python -m data.synthetic",
        description="Write synthetic faces in Kaggle's CSV format: training.csv and test.csv.",
    )
    add = parser.add_argument
    add("--out", default=HERE / "data", type=Path, metavar="DIR", help="folder (default: data)")
    add("--train", type=natural, default=2000, help="faces in training.csv (default: 2000)")
    add("--test", type=natural, default=200, help="faces in test.csv (default: 200)")
    add("--seed", type=natural, default=0, help="another number gives other faces (default: 0)")
    add("--force", action="store_true", help="overwrite existing files")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Write training.csv and test.csv."""
    training, test = (arguments.out / name for name in ("training.csv", "test.csv"))
    for path in (training, test):
        if path.exists() and not arguments.force:
            raise InputError(f"{path} exists; give --force to overwrite it.")
    make_folder(arguments.out)
    pictures, key_points = make_faces(arguments.train + arguments.test, arguments.seed)
    write_faces(training, pictures[: arguments.train], key_points[: arguments.train])
    write_faces(test, pictures[arguments.train :])
    print(f"wrote {arguments.train} faces to {training} and {arguments.test} to {test}")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
