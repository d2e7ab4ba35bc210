"""A model trained on synthetic faces alone, tested on real ones.

    python model_builder.py                       # without data/training.csv
    python tests/benchmarks/synthetic_transfer.py --data ../shared/data/training.csv.gz

Prints the RMSE over all faces of the file, for the model and for the mean face, after each one's
median offset per coordinate is removed: synthetic and real faces mark some points differently.
"""

import sys
from pathlib import Path

import common
import numpy as np

from data.faces import load_training
from data.key_points import rmse
from data.system.command_line import run_script
from data.system.files import HERE
from models.network import predict
from models.storage import load_model


def without_offset(difference):
    """RMSE in pixels of differences (N, 15, 2) after the median of each coordinate is removed."""
    return rmse(difference, np.broadcast_to(np.nanmedian(difference, 0), difference.shape))


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Test a model on faces of another kind.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="CSV of real faces with key points")
    add("--model", type=Path, default=HERE / "models" / "my_model.keras", help="the model")
    return parser.parse_args(argv)


def run(arguments):
    """Predict and report."""
    model, _ = load_model(arguments.model)
    faces = load_training(arguments.data)
    for name, found in (
        ("mean face", np.nanmean(faces.key_points, 0, keepdims=True)),
        ("model", predict(model, faces.pictures)[0]),
        ("model, flip averaging", predict(model, faces.pictures, mirror=True)[0]),
    ):
        print(f"{without_offset(found - faces.key_points):.3f} px  {name}")
    print(f"on {len(faces.rows)} faces")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
