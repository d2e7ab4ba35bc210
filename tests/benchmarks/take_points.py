"""Extract a model for some of a trained network's key points, with its own record.

    python tests/benchmarks/take_points.py trained.keras trained_68.keras --points 68

So one training on the points of `points_72.txt` makes a network of Kaggle's 15 points and
one of 300-W's 68. Both have the same body, and predict exactly what the whole network predicts. The
held-out faces of its training are scored again, for the points that are kept.
"""

import argparse
import sys
from pathlib import Path

import common  # noqa: F401
import numpy as np

from data.faces import fingerprint, load_training
from data.key_points import mirror_partners
from data.synthetic.rendered.points import read_places
from data.system.command_line import run_script
from data.system.files import InputError
from models.network import warm_start
from models.storage import load_landmarker, save_model
from models.training.score import score_files


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Extract a model for some of a network's key points."
    )
    parser.add_argument("model", type=Path, help="the .keras file, its JSON beside it")
    parser.add_argument("out", type=Path, help="the .keras file to write")
    parser.add_argument("--points", default="15", help="15, 68 or a file of names (default: 15)")
    return parser.parse_args(argv)


def training_faces(landmarker):
    """All faces of its one training file. Raises InputError if there are several, or others."""
    data = landmarker.record.get("data") or []
    if len(data) != 1:
        raise InputError(f"{landmarker.path} names {len(data)} training files; one is needed.")
    faces = load_training(Path(data[0]["absolute"]), names=landmarker.names)
    if fingerprint(faces) != data[0]["sha256"]:
        raise InputError(f"{faces.path} has changed since the training; make it again.")
    return faces


def keep_points(landmarker, names):
    """Its training faces and their held-out ones, with only the key points `names`, and its record
    as of a model for these."""
    record, kept = landmarker.record, [landmarker.names.index(name) for name in names]
    faces = training_faces(landmarker)
    faces = faces._replace(key_points=faces.key_points[:, kept], names=names)
    (data,) = record["data"]
    held_out = faces.take(np.isin(faces.rows, data["validation_rows"]))
    own = {"sha256": fingerprint(faces), "validation_sha256": fingerprint(held_out)}
    own_record = {
        "key_points": names,
        "mean_face": [record["mean_face"][k] for k in kept],
        "data": [data | own],
    }
    return faces, held_out, record | own_record


def score_and_save(model, path, faces, held_out, record):
    """Save a model, with faces and record as from `keep_points`, and print its error."""
    scores = score_files(model, held_out, [faces], None, mirror_partners(faces.names) is not None)
    save_model(model, path, record | {"results": record["results"] | {"validation": scores}})
    print(f"{path}: validation RMSE {scores[0]['rmse_px']:.3f} px")


def run(arguments):
    """Slice the network, the faces and the record; score and save."""
    landmarker, names = load_landmarker(arguments.model), read_places(arguments.points).names
    if missing := [name for name in names if name not in landmarker.names]:
        raise InputError(f"{arguments.model} does not know {', '.join(missing[:5])}.")
    kept = keep_points(landmarker, names)
    score_and_save(warm_start(landmarker.model, landmarker.names, names), arguments.out, *kept)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
