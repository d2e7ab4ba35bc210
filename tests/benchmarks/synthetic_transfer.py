"""How far made-up faces go: a model trained on nothing else, tested on real faces.

    python model_builder.py                       # without data/training.csv
    python tests/benchmarks/synthetic_transfer.py --data ../shared/data/training.csv.gz

Prints the RMSE over all faces of the file, for the model and for the mean face, after each one's
median offset per coordinate is removed: made-up and real faces mark some points differently.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from data.command_line import run_script  # noqa: E402
from data.faces import load_training  # noqa: E402
from data.files import HERE  # noqa: E402
from data.key_points import rmse  # noqa: E402
from models.network import predict  # noqa: E402
from models.storage import load_model  # noqa: E402


def without_offset(difference):
    """RMSE in pixels of differences (N, 15, 2) after the median of each coordinate is removed."""
    return rmse(difference, np.broadcast_to(np.nanmedian(difference, 0), difference.shape))


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Test a model on faces of another kind.")
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
        ("model, mirrored picture averaged in", predict(model, faces.pictures, mirror=True)[0]),
    ):
        print(f"{without_offset(found - faces.key_points):.3f} px  {name}")
    print(f"on {len(faces.rows)} faces")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
