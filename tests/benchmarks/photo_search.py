"""Face detection in everyday photos: recall, false positives and time of `--image`.

    taskset -c 0 python tests/benchmarks/photo_search.py [FOLDER] [--half 1] [--changed]

FOLDER contains photos and `truth.json`: for each photo's name `faces`, which a person would expect
to be found, and `ignore`, which do not count, each `[x, y, size]`: the centre of the crop as in
training, and its side in pixels. A face is found where a box of 0.4 to 2.5 times its size lies
within 0.45 of the larger of both sizes (by the larger of the two distances). A box that is at no
face and at none to ignore is a false positive. OpenCV's plain frontal cascade is scored too, if
OpenCV 4 is installed. Times are processor times of search and network, without reading and drawing.

`--half 1` takes the half of the photos on which the networks and their limits were chosen, `--half
2` the other one. (Some of the search's limits are older, and were chosen on all of them.)
`--changed` searches the photos again in the dark, in fog, dim with noise, and rotated by 60
degrees. `--show FOLDER` writes the pictures that `--image` would. `--large` times a photo of
6,000x4,000 from file to file.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import common
import numpy as np

from data.images.crops import similarity_transforms, transform_points
from data.images.photos import read_photo
from data.key_points import SIZE
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from models.detect.candidates import load_networks
from models.detect.search import detect
from models.detect.settings import settings_of
from models.storage import SHIPPED, Landmarker, load_landmarker
from results.photos import QUICK_PNG, annotate

NEAR, SMALLER, LARGER = 0.45, 0.4, 2.5  # what counts as found, see above
ROTATED = 60  # degrees
# Changes of a photo's grey values, as float32.
LIGHT = {
    "as it is": lambda grey: grey,
    "dark": lambda grey: 0.12 * grey,
    "fog": lambda grey: 185 + 0.15 * grey,
    "noise": lambda grey: 0.3 * grey + np.random.default_rng(0).normal(0, 4, grey.shape),
}


def load_truth(folder):
    """The truth of each photo by its path: two arrays (N, 3), faces and what to ignore."""
    path = folder / "truth.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the folder of the photos and their truth.")
    truth = json.loads(path.read_text())
    return {
        folder / name: [np.reshape(marks[kind], (-1, 3)) for kind in ("faces", "ignore")]
        for name, marks in truth.items()
    }


def take_half(truth, number):
    """The first or second half of the photos: about as many faces, and as many photos without."""
    halves = {}, {}
    faces, empty = [0, 0], [0, 0]
    for path in sorted(truth, key=lambda p: (p.stem.split("_")[0], -len(truth[p][0]), p)):
        count = len(truth[path][0])
        half = int(np.argmin(faces if count else empty))
        halves[half][path] = truth[path]
        faces[half] += count
        empty[half] += not count
    return dict(sorted(halves[number - 1].items()))


def rotate(grey):
    """A photo (H, W) float32 rotated clockwise in a larger one, and the affine from pixels of the
    first to pixels of the second, (2, 3)."""
    from PIL import Image

    photo = Image.fromarray(grey)
    rotated = photo.rotate(-ROTATED, Image.Resampling.BILINEAR, expand=True, fillcolor=128)
    middles = [(np.array(picture.size) - 1) / 2 for picture in (photo, rotated)]
    affine = similarity_transforms(np.ones(1), np.radians([ROTATED]), middles[0], middles[1][None])
    return np.asarray(rotated), affine[0]


def rotate_marks(marks, affine):
    """Marks x y size (N, 3) in the rotated photo."""
    places = transform_points(marks[None, :, :2], affine[None])[0]
    return np.column_stack([places, marks[:, 2]])


def matches(boxes, truth):
    """Which of `boxes` (M, 3) finds which face of `truth` (N, 3), bool (N, M); x y side."""
    sides, sizes = boxes[:, 2], truth[:, 2, None]
    distance = np.abs(truth[:, None, :2] - boxes[:, :2]).max(-1)
    fits = (sides >= SMALLER * sizes) & (sides <= LARGER * sizes)
    return fits & (distance < NEAR * np.maximum(sides, sizes))


def as_squares(boxes):
    """Boxes x y w h (M, 4) as middle and side (M, 3)."""
    boxes = np.reshape(boxes, (-1, 4))
    return np.column_stack([boxes[:, :2] + (boxes[:, 2:] - 1) / 2, boxes[:, 2]])


def plain_cascade():
    """OpenCV's frontal cascade with its usual parameters, as a function of grey values; or None."""
    try:
        import cv2

        cascade = cv2.CascadeClassifier(
            f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml"
        )
    except (ImportError, AttributeError):  # OpenCV 5 has none
        return None
    cv2.setNumThreads(1)
    return lambda grey: as_squares(cascade.detectMultiScale(grey, 1.1, 5, minSize=(20, 20)))


def measure(look, truth, change):
    """Found faces (bool for each), false positives and seconds, each a dict by photo."""
    found, alarms, seconds = {}, {}, {}
    for path, (faces, ignore) in truth.items():
        grey = np.asarray(read_photo(path).convert("L"), np.float32)
        if change == "rotated":
            grey, affine = rotate(grey)
            faces, ignore = (rotate_marks(marks, affine) for marks in (faces, ignore))
        else:
            grey = LIGHT[change](grey)
        grey = np.clip(grey, 0, 255).astype(np.uint8)
        started = time.process_time()
        boxes = look(grey)
        seconds[path] = time.process_time() - started
        hits = matches(boxes, faces)
        found[path] = hits.any(1)
        alarms[path] = int((~(hits.any(0) | matches(boxes, ignore).any(0))).sum())
    return found, alarms, seconds


class Counting(Landmarker):
    """A model that notes the number of crops of each prediction."""

    counts = []

    def predict(self, pictures, mirror=True):
        self.counts.append(len(pictures))
        return super().predict(pictures, mirror)


def report(ways, truth, changes):
    """Print the table, and the photos with missed faces or false positives."""
    print("| | " + " | ".join(ways) + " |\n|---|" + "---:|" * len(ways))
    for name in changes:
        results = [measure(look, truth, name) for look in ways.values()]
        kinds = sorted({path.stem.split("_")[0] for path in truth}) if name == "as it is" else []
        for kind in ["", *kinds]:
            some = [path for path in truth if path.stem.startswith(kind)]
            count = sum(len(truth[path][0]) for path in some)
            cells = []
            for found, alarms, _ in results:
                hits, wrong = (sum(np.sum(part[path]) for path in some) for part in (found, alarms))
                cells.append(f"{hits}, {wrong} false positives")
            title = f"{name}: all faces" if not kind else f"– {kind}"
            print(f"| {title} ({count}) | {' | '.join(cells)} |")
        times = [np.array(list(seconds.values())) for *_, seconds in results]
        cells = [f"{np.median(part):.2f}, {part.mean():.2f}, {part.max():.2f} s" for part in times]
        print(f"| processor time per photo: median, mean, most | {' | '.join(cells)} |", flush=True)
    found, alarms, _ = results[-1]
    for path in truth:
        sizes = [f"{size:.0f}" for size in truth[path][0][~found[path], 2]]
        if sizes or alarms[path]:
            print(f"{path.name}: missed of sizes {' '.join(sizes) or '-'}; {alarms[path]} alarms")


def time_large(landmarker):
    """Print the processor time of a photo of 6,000x4,000 from file to file, and its parts."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    china = Image.fromarray(load_sample_images().images[0])
    from matplotlib.cbook import get_sample_data

    large = china.resize((6000, 4000), Image.Resampling.BICUBIC)
    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as portrait:
        for side, x in ((1200, 300), (160, 3000)):
            large.paste(portrait.convert("RGB").resize((side, side * 600 // 512)), (x, 800))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.jpg")
        large.save(path, quality=92)
        times = [time.process_time()]
        photo = read_photo(path)
        times.append(time.process_time())
        faces = detect(landmarker, photo)
        times.append(time.process_time())
        drawn = annotate(photo, faces)
        drawn.save(Path(folder, "large.png"), **QUICK_PNG)
        times.append(time.process_time())
    read, look, draw = np.diff(times)
    print(
        f"6,000x4,000: {len(faces)} of 2 faces; {times[-1] - times[0]:.2f} s of processor time:"
        f" reading {read:.2f}, search and network {look:.2f}, drawing and writing {draw:.2f}"
    )


def show(landmarker, truth, folder):
    """Write each photo with the faces found in it."""
    make_folder(folder)
    for path in truth:
        photo = read_photo(path)
        drawn = annotate(photo, detect(landmarker, photo))
        replace_file(folder / f"{path.stem}.png", partial(drawn.save, **QUICK_PNG))


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Faces found in photos, false positives, and processor time.")
    default = common.SHARED / "photos"
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=default, help="photos and truth.json")
    add("--model", type=Path, default=SHIPPED, help="the key point network")
    add("--networks", type=Path, default=HERE / "models", help="folder of free_finder.npz ...")
    add("--upright", type=float, help="threshold of the checker")
    add("--doubtful", type=float, help="threshold of the spread, px")
    add("--half", type=int, choices=(1, 2), help="only this half of the photos")
    add("--changed", action="store_true", help="the photos in other light and rotated as well")
    add("--large", action="store_true", help="time a photo of 6,000x4,000")
    add("--show", type=Path, help="folder to write annotated photos to")
    return parser.parse_args(argv)


def run(arguments):
    """Measure and print."""
    truth = load_truth(arguments.folder)
    if arguments.half:
        truth = take_half(truth, arguments.half)
    landmarker = load_landmarker(arguments.model)
    networks = load_networks(arguments.networks)
    given = {"max_spread": arguments.doubtful, "min_check": arguments.upright}
    given = {name: value for name, value in given.items() if value is not None}
    settings = replace(settings_of(landmarker.free), **given)
    for count in (1, 2, 3):  # TensorFlow compiles, which is not to be measured
        landmarker.predict(np.zeros((count, SIZE, SIZE)))
    landmarker = Counting(landmarker.model, landmarker.record, landmarker.path)

    def find(grey):
        return as_squares(detect(landmarker, grey, settings=settings, networks=networks).boxes)

    ways = {"plain frontal cascade": plain_cascade(), "`--image`": find}
    ways = {name: look for name, look in ways.items() if look}
    report(ways, truth, [*LIGHT, "rotated"] if arguments.changed else ["as it is"])
    crops = sum(landmarker.counts)
    print(f"crops given to the key point network, of all of these photos: {crops}")
    if arguments.large:
        time_large(landmarker)
    if arguments.show:
        show(landmarker, truth, arguments.show)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
