"""What the benchmarks share; importing it puts the project on Python's path."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as face_key_points.py does; before NumPy
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from data.system.files import HERE  # noqa: E402

SHARED = HERE.parent / "shared" / "data"  # the real faces, beside the checkout
KAGGLE, ARCHIVE = SHARED / "training.csv.gz", SHARED / "wild_faces.npz"


def parser(description):
    """An argparse parser whose help names the defaults."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=formatter)


def markdown(header, rows):
    """A GitHub-markdown table of texts, the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
