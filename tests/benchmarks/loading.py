"""Time and memory of loading a full-size file: `load_faces` against the usual recipe.

    python tests/benchmarks/loading.py [--rows 7049] [--repeat 3]
    python tests/benchmarks/loading.py --photos 2000 [--size 4000 3000]
    python tests/benchmarks/loading.py --jsons 100000

Writes a synthetic CSV of Kaggle's size to a temporary folder and loads it in fresh processes, the
two methods in turn. The recipe is that of most notebooks for this data set. Or loads so many
labelled photos, one face in each, and half as many, against decoding the same JPEGs. Or reads a
folder of so many of LabelMe's JSONs, and of a tenth, without the photos.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import common
import numpy as np
from PIL import Image

from data.formats.coco import coco_document
from data.formats.labelme import labelme_document
from data.formats.labels import VISIBLE, LabelledFace, LabelledPhoto
from data.key_points import COLUMNS, KEY_POINTS, SIZE
from data.synthetic.faces import draw_face
from data.system.command_line import positive, run_script
from data.system.files import HERE

RECIPE = """
import numpy as np, pandas as pd
frame = pd.read_csv(path)
frame["Image"] = frame["Image"].apply(lambda text: np.fromstring(text, sep=" "))
pictures = np.stack(frame["Image"].values).astype(np.float32).reshape(-1, 96, 96)
points = frame.iloc[:, :30].to_numpy(np.float32)
"""
OURS = """
faces = load_faces(path)
pictures, points = faces.pictures, faces.key_points
"""
DECODING = """
from pathlib import Path
from PIL import Image
pictures = np.zeros((len(list(Path(path).glob("*.jpg"))), 1, 1), np.uint8)
for photo in Path(path).glob("*.jpg"):
    with Image.open(photo) as file:
        file.load()
"""
READING = """
from pathlib import Path
from data.formats.read import read_labels
pictures = np.zeros((len(read_labels(Path(path)).photos), 1))
"""
# VmHWM is this process's peak (`ru_maxrss` may be its parent's); the baseline is the imports, which
# both need.
WRAPPER = """
import json, re, sys, time
sys.path.insert(0, {root!r})
import numpy, pandas, PIL.Image
from data.faces import load_faces
from data.system.command_line import keep_freed_memory
keep_freed_memory()  # as the scripts do
np = numpy
path = {path!r}
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before = peak()
started = time.process_time()
{method}
seconds = time.process_time() - started
after = peak()
check = int(pictures[:50].sum(dtype="float64"))
print()
print(json.dumps([seconds, (after - before) / 1024, len(pictures), check]))
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


DRAWN = 16  # different photos; the others are links to them


def write_photos(folder, count, size):
    """JPEGs of this width and height with a face of half their height, labelled in COCO's format.

    Returns the size of one of them in bytes.
    """
    rng = np.random.default_rng(0)
    side = size[1] // 2
    corner = (size[0] - side) // 2, (size[1] - side) // 2
    photos, labelled = [], []
    for i in range(min(DRAWN, count)):
        picture, points = draw_face(0, i)
        clouds = rng.integers(40, 216, (size[1] // 8, size[0] // 8, 3), np.uint8)
        photo = Image.fromarray(clouds).resize(size, Image.Resampling.BICUBIC)
        photo.paste(Image.fromarray(picture).resize((side, side)), corner)
        photo.save(folder / f"{i}.jpg", quality=90)
        photos.append((points + 0.5) * (side / SIZE) - 0.5 + corner)
    for i in range(count):
        path = folder / f"{i}.jpg"
        if i >= DRAWN:
            path.symlink_to(f"{i % DRAWN}.jpg")
        face = LabelledFace(photos[i % DRAWN], np.full(len(KEY_POINTS), VISIBLE))
        labelled.append(LabelledPhoto(path, path.name, folder, [face], size))
    (folder / "coco.json").write_text(json.dumps(coco_document(labelled, KEY_POINTS, folder)))
    return (folder / "0.jpg").stat().st_size


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Time and memory of loading the full-size file, or labelled photos.")
    parser.add_argument("--rows", type=int, default=7049, help="rows of the synthetic file")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each method, in turn")
    parser.add_argument("--photos", type=positive(int), help="labelled photos instead")
    parser.add_argument("--jsons", type=positive(int), help="JSONs of LabelMe instead")
    parser.add_argument("--size", type=int, nargs=2, default=[1280, 960], help="of each photo")
    return parser.parse_args(argv)


def measure(path, method):
    """Seconds of processor time, MB above the imports, rows, and a check: in a fresh process."""
    code = WRAPPER.format(root=str(HERE), path=str(path), method=method)
    call = [sys.executable, "-W", "ignore", "-c", code]
    output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def run_photos(arguments):
    """Load labelled photos in fresh processes, decode them in others, and print."""
    for count in (arguments.photos // 2, arguments.photos):
        with tempfile.TemporaryDirectory() as temporary:
            size = write_photos(Path(temporary), count, tuple(arguments.size))
            ours, plain = (
                np.median([measure(temporary, m)[:2] for _ in range(arguments.repeat)], axis=0)
                for m in (OURS, DECODING)
            )
        print(
            f"{count} photos of {' x '.join(map(str, arguments.size))} pixels, {size / 1e6:.1f} MB:"
            f" load_faces {ours[0]:.1f} s and {ours[1]:.0f} MB above the imports, decoding"
            f" {plain[0]:.1f} s and {plain[1]:.0f} MB; {ours[0] / plain[0]:.2f} times the time",
            flush=True,
        )


def run_jsons(arguments):
    """Read a folder of LabelMe's JSONs, one face in each, in fresh processes, and print."""
    points = draw_face(0, 0)[1].astype(float)
    face = LabelledFace(points, np.full(len(KEY_POINTS), VISIBLE))
    text = json.dumps(labelme_document("photo.jpg", (SIZE, SIZE), [face], KEY_POINTS))
    for count in (arguments.jsons // 10, arguments.jsons):
        with tempfile.TemporaryDirectory() as temporary:
            for i in range(count):
                (Path(temporary) / f"{i}.json").write_text(text)
            seconds, megabytes, read, _ = measure(temporary, READING)
        assert read == count
        print(
            f"{count} JSONs: {count / seconds:.0f} a second, {megabytes:.0f} MB above the imports"
        )


def run(arguments):
    """Load in fresh processes, the two methods in turn, and print."""
    if arguments.photos or arguments.jsons:
        (run_photos if arguments.photos else run_jsons)(arguments)
        return
    results = {"usual recipe": [], "load_faces": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.csv"
        write_full_size(path, arguments.rows)
        print(f"{arguments.rows} rows, {path.stat().st_size / 1e6:.0f} MB")
        for _ in range(arguments.repeat):
            for name, method in zip(results, (RECIPE, OURS), strict=True):
                results[name].append(measure(path, method))
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
