"""Peak memory of predicting a short and a long test CSV: it must not grow with the file.

    python tests/benchmarks/streaming.py [--rows 2000 100000] [--model MODEL]

Writes CSVs of made-up faces (50 of them, over and over; 3.2 GB for 100,000 rows) one at a time to
a temporary folder and runs `face_key_points.py --no-mirror` on each, as a user would.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from model_builder import synthetic_faces  # noqa: E402


def write_test_file(path, rows):
    """A test CSV of `rows` rows: ImageId and Image."""
    pictures = [" ".join(map(str, p.ravel())) for p in synthetic_faces(50, 0).pictures]
    with open(path, "w") as file:
        file.write("ImageId,Image\n")
        for row in range(rows):
            file.write(f"{row + 1},{pictures[row % 50]}\n")


def peak_memory(command):
    """Run a command; its peak resident memory in MB, and seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(errors.decode())
    return usage.ru_maxrss / 1024, time.monotonic() - started


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 100000], help="rows of each")
    parser.add_argument(
        "--model", type=Path, default=ROOT / "models" / "pretrained.keras", help="what predicts"
    )
    arguments = parser.parse_args(argv)
    peaks = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "test.csv"
            write_test_file(path, rows)
            script = [sys.executable, ROOT / "face_key_points.py", "--no-mirror"]
            flags = ["--model", arguments.model, "--data", path, "--results", Path(folder) / "r"]
            megabytes, seconds = peak_memory(list(map(str, [*script, *flags])))
            with open(Path(folder) / "r" / "test_key_points.csv") as written:
                assert sum(1 for _ in written) == rows + 1
            size = path.stat().st_size / 1e6
        peaks.append(megabytes)
        print(f"{rows:7} rows, {size:5.0f} MB: peak {megabytes:4.0f} MB, {seconds:4.0f} s")
    print(f"the longest takes {peaks[-1] / peaks[0]:.2f} times the memory of the shortest")
    return peaks


if __name__ == "__main__":
    main()
