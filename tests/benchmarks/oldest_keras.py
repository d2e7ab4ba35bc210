"""Save a model again with the oldest supported Keras, so that every later one loads it.

    python tests/benchmarks/oldest_keras.py models/my_model.keras models/pretrained.keras

A `.keras` file of a new Keras may not load in an older one. The weights are passed on as plain
arrays; the old Keras, installed into a folder of its own, builds the network with them and saves
it. The file is kept only if its predictions are bit-identical to the model's. The JSON beside it is
copied; --licence adds what the weights may be used for.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import common  # noqa: F401
import numpy as np

from data.faces import synthetic_faces
from data.key_points import SIZE
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from models.network import predict
from models.storage import load_model

OLDEST = "keras==3.12.4"

WORKER = """
import sys
import keras
import numpy as np
from models.network import build_model, predict

given = np.load(sys.argv[1])
network = build_model(count=int(given["count"]))
network.set_weights([given[f"arr_{i}"] for i in range(len(network.weights))])
network.save(sys.argv[2])
again = keras.saving.load_model(sys.argv[2], compile=False, safe_mode=True)
found, spread = predict(again, given["pictures"])
np.savez(sys.argv[3], found=found, spread=spread, version=keras.__version__)
"""


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description=f"Save a model again with {OLDEST}.")
    parser.add_argument("model", type=Path, help="the .keras file, its JSON beside it")
    parser.add_argument("out", type=Path, help="the .keras file to write")
    parser.add_argument("--licence", help="of the weights, for the JSON")
    return parser.parse_args(argv)


def run(arguments):
    """Install, build, save, compare."""
    model, record = load_model(arguments.model)
    make_folder(arguments.out.parent)
    pictures = np.concatenate(
        [
            synthetic_faces(32, seed=1).pictures,
            np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE), np.uint8),
        ]
    )
    expected = predict(model, pictures)
    with tempfile.TemporaryDirectory() as folder:
        beside, given, found = (Path(folder) / name for name in ("old", "given.npz", "found.npz"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", beside, OLDEST], check=True)
        weights = model.get_weights()
        np.savez(given, *weights, pictures=pictures, count=expected[1].shape[1])

        def write(path):
            subprocess.run(
                [sys.executable, "-c", WORKER, given, path, found],
                check=True,
                env=os.environ | {"PYTHONPATH": f"{beside}{os.pathsep}{HERE}"},
            )
            again = predict(load_model(path)[0], pictures)
            if not all(map(np.array_equal, expected, again)):
                raise InputError(
                    f"{arguments.model} predicts something else when saved by {OLDEST}."
                )
            with np.load(found) as answer:
                there = max(
                    np.abs(values - answer[name]).max()
                    for name, values in zip(("found", "spread"), expected, strict=True)
                )
                version = str(answer["version"])
            print(
                f"written by Keras {version}; predictions identical, with it within {there:.1g} px"
            )

        replace_file(arguments.out, write)
    if arguments.licence:
        record = {"licence": arguments.licence} | record
    text = json.dumps(record, indent=2) + "\n"
    replace_file(arguments.out.with_suffix(".json"), lambda file: file.write_text(text))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
