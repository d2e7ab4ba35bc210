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
from take_points import keep_points, score_and_save

from data.key_points import mirror_partners
from data.settings import Settings
from data.system.command_line import keep_freed_memory, run_script
from data.system.files import InputError
from models.network import warm_start
from models.storage import load_landmarker
from models.training.fit import build_networks, find_sources, finish, learn_spread


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
    faces, held_out, record = keep_points(later, names)
    training = faces.take(~np.isin(faces.rows, held_out.rows))
    settings = replace(Settings(), epochs=record["results"]["epochs"])
    sources = find_sources(training, held_out, settings)
    network, model = build_networks("float32", sources, names)
    network.set_weights(average(earlier, later, names).get_weights())
    learn_spread(network, model, training, settings, checkpoint=None)
    mirror = mirror_partners(names) is not None
    final, _ = finish(network, model, held_out, sources, mirror)
    score_and_save(final, arguments.out, faces, held_out, record)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
