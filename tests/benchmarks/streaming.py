"""Peak memory of predicting a short and a long test CSV: it must not grow with the file.

    python tests/benchmarks/streaming.py [--rows 2000 100000] [--model MODEL]

Writes CSVs of synthetic faces (50 of them, over and over; 3.2 GB for 100,000 rows) one at a time to
a temporary folder and runs `face_key_points.py --no-mirror` on each, as a user would.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

from data.faces import synthetic_faces
from data.system.command_line import positive, run_script
from data.system.files import HERE
from models.storage import SHIPPED


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


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Peak memory of predicting a short and a long test CSV.")
    add = parser.add_argument
    add("--rows", type=positive(int), nargs="+", default=[2000, 100000], help="rows of each")
    add("--model", type=Path, default=SHIPPED, help="the trained model")
    return parser.parse_args(argv)


def run(arguments):
    """Predict each file in a process of its own, and print its peak memory."""
    peaks = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "test.csv"
            write_test_file(path, rows)
            script = [sys.executable, HERE / "face_key_points.py", "--no-mirror"]
            flags = ["--model", arguments.model, "--data", path, "--results", Path(folder) / "r"]
            megabytes, seconds = peak_memory(list(map(str, [*script, *flags])))
            with open(Path(folder) / "r" / "test_key_points.csv") as written:
                assert sum(1 for _ in written) == rows + 1
            size = path.stat().st_size / 1e6
        peaks.append(megabytes)
        print(f"{rows:7} rows, {size:5.0f} MB: peak {megabytes:4.0f} MB, {seconds:4.0f} s")
    print(f"the longest takes {peaks[-1] / peaks[0]:.2f} times the memory of the shortest")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
