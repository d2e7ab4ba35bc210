"""Fixtures: synthetic faces, CSV files of them, a small trained model. No real face is needed."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import model_builder as mb  # noqa: E402
from data.command_line import keep_freed_memory  # noqa: E402
from data.faces import load_faces, synthetic_faces  # noqa: E402
from data.files import InputError  # noqa: E402
from data.key_points import COLUMNS, SIZE  # noqa: E402
from models import network  # noqa: E402

keep_freed_memory()  # as the scripts do: trainings here take half the time
if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each of the test processes
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

SHARED = ROOT.parent / "shared" / "data"


def write_csv(path, pictures, key_points=None, columns=COLUMNS, **others):
    """Write faces as Kaggle's CSV, NaN as an empty field."""
    table = {}
    if key_points is not None:
        table = dict(zip(columns, key_points.reshape(len(pictures), -1).T, strict=True))
    table |= others
    table["Image"] = [" ".join(map(str, picture.ravel())) for picture in pictures]
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def refused_table(csv_path, folder, change, message):
    """See to it that the CSV's first rows, changed, are refused in one sentence with their path."""
    path = folder / "bad.csv"
    change(pd.read_csv(csv_path, nrows=3)).to_csv(path, index=False)
    with pytest.raises(InputError, match=message) as caught:
        load_faces(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def smallest_network(bias="zeros"):
    """A Keras model of a few kB with the inputs and outputs of ours."""
    from keras import Input, Model, layers

    picture = Input((SIZE, SIZE, 1))
    coarse = layers.Flatten()(layers.AveragePooling2D(32)(picture))
    key_points = layers.Dense(30, bias_initializer=bias)(coarse)
    return Model(picture, {"key_points": key_points, "spread": layers.Dense(15)(coarse)})


@pytest.fixture(scope="session")
def faces():
    """120 synthetic faces; every third has lost the points that Kaggle's second source lacks."""
    made = synthetic_faces(120, seed=5)
    key_points = made.key_points.copy()
    key_points[::3, 2:10] = np.nan
    return made._replace(key_points=key_points)


@pytest.fixture(scope="session")
def training_csv(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "training.csv"
    return write_csv(path, faces.pictures, faces.key_points)


@pytest.fixture(scope="session")
def test_csv(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "test.csv"
    return write_csv(path, faces.pictures[:40], ImageId=np.arange(40) * 7 + 3)


@pytest.fixture(scope="session")
def trained(training_csv, tmp_path_factory):
    """What `model_builder.py` leaves after a few epochs: the folder with its model and results."""
    folder = tmp_path_factory.mktemp("run")
    status = mb.main(
        [
            *("--data", str(training_csv)),
            *("--model", str(folder / "models" / "small.keras")),
            *("--results", str(folder / "results")),
            *("--epochs", "3", "--batch-size", "16", "--precision", "float32"),
        ]
    )
    assert status == 0
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """Training with a network of 700 weights."""
    from killing import tiny_model

    monkeypatch.setattr(mb, "build_model", tiny_model)
    monkeypatch.setattr(network, "build_model", tiny_model)


@pytest.fixture(scope="session")
def real_training_csv():
    path = SHARED / "training.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there: the real faces are not ours to ship")
    return path
