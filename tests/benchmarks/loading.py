"""Time and memory of loading a full-size file: `load_faces` against the usual recipe.

    python tests/benchmarks/loading.py [--rows 7049] [--repeat 3]

Writes a synthetic CSV of Kaggle's size to a temporary folder and loads it in fresh processes, the
two methods in turn. The recipe is that of most notebooks for this data set.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import common
import numpy as np

from data.key_points import COLUMNS
from data.system.command_line import run_script
from data.system.files import HERE

RECIPE = """
import numpy as np, pandas as pd
frame = pd.read_csv(path)
frame["Image"] = frame["Image"].apply(lambda text: np.fromstring(text, sep=" "))
pictures = np.stack(frame["Image"].values).astype(np.float32).reshape(-1, 96, 96)
points = frame.iloc[:, :30].to_numpy(np.float32)
"""
OURS = """
from data.faces import load_faces
faces = load_faces(path)
pictures, points = faces.pictures, faces.key_points
"""
# `ru_maxrss` is this process's peak; the baseline is the imports, which both need.
WRAPPER = """
import json, resource, sys, time
sys.path.insert(0, {root!r})
import numpy, pandas
path = {path!r}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
{method}
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
check = int(pictures[:50].sum(dtype="float64"))
print(json.dumps([seconds, (peak - before) / 1024, len(pictures), check]))
"""


def write_full_size(path, rows):
    """A CSV like Kaggle's: random pictures, two rows in three with only four points labelled."""
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        file.write(",".join(COLUMNS) + ",Image\n")
        for row in range(rows):
            points = [f"{value:.6f}" for value in rng.uniform(10, 90, len(COLUMNS))]
            if row % 3:
                points[4:20] = [""] * 16
            file.write(",".join(points) + "," + " ".join(map(str, rng.integers(0, 256, 9216))))
            file.write("\n")


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Time and memory of loading the full-size file.")
    parser.add_argument("--rows", type=int, default=7049, help="rows of the synthetic file")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each method, in turn")
    return parser.parse_args(argv)


def run(arguments):
    """Load in fresh processes, the two methods in turn, and print."""
    results = {"usual recipe": [], "load_faces": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.csv"
        write_full_size(path, arguments.rows)
        print(f"{arguments.rows} rows, {path.stat().st_size / 1e6:.0f} MB")
        for _ in range(arguments.repeat):
            for name, method in zip(results, (RECIPE, OURS), strict=True):
                code = WRAPPER.format(root=str(HERE), path=str(path), method=method)
                call = [sys.executable, "-W", "ignore", "-c", code]
                output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
                results[name].append(json.loads(output))
    assert results["usual recipe"][0][2:] == results["load_faces"][0][2:], "different pictures"
    figures = {
        name: [median(column) for column in zip(*r, strict=True)] for name, r in results.items()
    }
    for name, (seconds, megabytes, *_) in figures.items():
        print(f"{name:13} {seconds:6.2f} s  {megabytes:6.0f} MB above the imports")
    recipe, ours = figures["usual recipe"], figures["load_faces"]
    print(f"load_faces is {recipe[0] / ours[0]:.1f}x faster in 1/{recipe[1] / ours[1]:.1f} of the"
          " memory")  # fmt: skip


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
