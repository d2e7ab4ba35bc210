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
import model_builder as mb  # noqa: E402


def without_offset(difference):
    """RMSE in pixels of differences (N, 15, 2) after the median of each coordinate is removed."""
    return mb.rmse(difference, np.broadcast_to(np.nanmedian(difference, 0), difference.shape))


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Test a model on faces of another kind.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="CSV of real faces with key points")
    add("--model", type=Path, default=mb.HERE / "models" / "my_model.keras", help="the model")
    return parser.parse_args(argv)


def run(arguments):
    """Predict and report."""
    model, _ = mb.load_model(arguments.model)
    faces = mb.load_training(arguments.data)
    for name, found in (
        ("mean face", np.nanmean(faces.key_points, 0, keepdims=True)),
        ("model", mb.predict(model, faces.pictures)[0]),
        ("model, mirrored picture averaged in", mb.predict(model, faces.pictures, mirror=True)[0]),
    ):
        print(f"{without_offset(found - faces.key_points):.3f} px  {name}")
    print(f"on {len(faces.rows)} faces")


if __name__ == "__main__":
    sys.exit(mb.main(parse=parse_arguments, work=run))
