"""Average the weights of two networks, one of which was trained on from the other.

    python tests/benchmarks/average_networks.py earlier.keras later.keras averaged.keras

Such a mean is often more accurate than either (Wortsman et al. 2022, Model soups,
https://arxiv.org/abs/2203.05482). It has the key points that both have. Its spread is learned anew,
on the training faces of the later one, and calibrated on that one's held-out faces.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import common  # noqa: F401
import numpy as np
from take_points import training_faces

from data.faces import fingerprint
from data.key_points import mirror_partners
from data.settings import Settings
from data.system.command_line import keep_freed_memory, run_script
from data.system.files import InputError
from models.network import predict, warm_start, with_source_offsets
from models.spread import calibrate, fit_spread
from models.storage import load_landmarker, save_model
from models.training.score import score_files


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Average the weights of two networks.")
    parser.add_argument("earlier", type=Path, help="the .keras file that --init was given")
    parser.add_argument("later", type=Path, help="the .keras file trained from it, its JSON beside")
    parser.add_argument("out", type=Path, help="the .keras file to write")
    return parser.parse_args(argv)


def average(earlier, later, names):
    """A network for the key points `names` with the mean of two Landmarkers' weights."""
    one, other = (warm_start(each.model, each.names, names) for each in (earlier, later))
    weights = zip(one.get_weights(), other.get_weights(), strict=True)
    one.set_weights([(a + b) / 2 for a, b in weights])
    return one


def run(arguments):
    """Average, learn the spread, calibrate, score and save."""
    keep_freed_memory()  # as for every training
    earlier, later = load_landmarker(arguments.earlier), load_landmarker(arguments.later)
    names = tuple(name for name in later.names if name in earlier.names)
    if not names:
        raise InputError(f"{arguments.earlier} and {arguments.later} share no key point.")
    kept, record = [later.names.index(name) for name in names], later.record
    faces = training_faces(later)
    faces = faces._replace(key_points=faces.key_points[:, kept], names=names)
    apart = np.isin(faces.rows, record["data"][0]["validation_rows"])
    training, held_out = faces.take(~apart), faces.take(apart)
    model, partners = average(earlier, later, names), mirror_partners(names)
    settings = replace(Settings(), epochs=record["results"]["epochs"])
    fit_spread(
        model, with_source_offsets(model, 1, partners, []), training, settings, settings.epochs
    )
    model = warm_start(model, names, names)  # as it is saved: no layer is frozen
    mirror = partners is not None
    found, spread = predict(model, held_out.pictures, mirror, names=names)
    calibrate(model, found, spread, held_out.key_points)
    scores = score_files(model, held_out, [faces], None, mirror)
    own = {"sha256": fingerprint(faces), "validation_sha256": fingerprint(held_out)}
    record |= {
        "key_points": names,
        "mean_face": [record["mean_face"][k] for k in kept],
        "data": [record["data"][0] | own],
        "results": record["results"] | {"validation": scores},
    }
    save_model(model, arguments.out, record)
    print(f"{arguments.out}: validation RMSE {scores[0]['rmse_px']:.3f} px")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
