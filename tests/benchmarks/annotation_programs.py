"""Label files of this project, read and written by the programs themselves.

    python tests/benchmarks/annotation_programs.py --labelme ENV/bin/python --datumaro ...

Each program lives in an environment of its own, whose Python is named. `--labels` writes the labels
of some synthetic photos; the program reads them and, where it can, saves them again; and what then
is read must be the same points, visibilities and names.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import numpy as np
from PIL import Image

from data.faces import synthetic_faces
from data.formats.labels import HIDDEN
from data.formats.read import read_labels
from data.key_points import KEY_POINTS
from data.system.command_line import run_script
from data.system.files import HERE, InputError
from models.detect.search import Detections
from results.label_files import LabelFiles

sys.path.insert(0, str(HERE / "tests"))
from labels import make_photos  # noqa: E402

# Opens each file in LabelMe's own window, without a screen, and saves it.
LABELME = """
import glob, sys, time, labelme
try:  # 7
    from PySide6 import QtWidgets
    from labelme._app import MainWindow
    load = lambda path: window._load_file(image_or_label_path=path)
except ImportError:  # 6
    from PyQt5 import QtWidgets
    from labelme.app import MainWindow
    load = lambda path: window._load_file(path)
app = QtWidgets.QApplication([])
window = MainWindow(file_or_dir=sys.argv[1])
for path in sorted(glob.glob(sys.argv[1] + "/*.json")):
    load(path)
    window.save_labels(label_path=path)
    for _ in range(10):  # 7 saves in a thread
        app.processEvents()
        time.sleep(0.02)
print(labelme.__version__)
"""
# What pycocotools has read of each annotation, and whether its own measure takes it.
PYCOCOTOOLS = """
import importlib.metadata, json, sys
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
coco = COCO(sys.argv[1] + "/key_points.json")
faces = coco.loadAnns(coco.getAnnIds())
found = coco.loadRes(faces)
measure = COCOeval(coco, found, "keypoints")
measure.params.kpt_oks_sigmas = np.full(len(faces[0]["keypoints"]) // 3, 0.05)
measure.evaluate()
measure.accumulate()
measure.summarize()
assert measure.stats[0] == 1, measure.stats
json.dump(dict(coco.dataset, annotations=faces), open(sys.argv[1] + "/key_points.json", "w"))
print(importlib.metadata.version("pycocotools"))
"""
# datumaro, which CVAT's formats come from, wants its own names of files and folders.
DATUMARO = """
import importlib.metadata, pathlib, shutil, sys
from datumaro.components.dataset import Dataset
here = pathlib.Path(sys.argv[1])
for name in ("annotations", "images/train"):
    (here / "in" / name).mkdir(parents=True)
for photo in pathlib.Path(sys.argv[2]).iterdir():
    shutil.copy(photo, here / "in/images/train")
(here / "key_points.json").rename(here / "in/annotations/person_keypoints_train.json")
read = Dataset.import_from(str(here / "in"), "coco_person_keypoints")
read.export(str(here / "out"), "coco_person_keypoints")
(here / "out/annotations/person_keypoints_train.json").rename(here / "key_points.json")
print(importlib.metadata.version("datumaro"))
"""
# Ultralytics' reader of a data set for training; what it has read is written as labels again.
ULTRALYTICS = """
import pathlib, sys, ultralytics
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset
here = pathlib.Path(sys.argv[1])
data = check_det_dataset(str(here / "data.yaml"))
read = YOLODataset(img_path=data["train"], data=data, task="pose", augment=False)
for label in read.labels:
    lines = []
    for box, points in zip(label["bboxes"], label["keypoints"]):
        values = [*box, *points.ravel()]
        lines.append("0 " + " ".join(f"{value:.8f}" for value in values))
    path = here / "labels" / pathlib.Path(label["im_file"]).with_suffix(".txt").name
    assert path.exists()
    path.write_text("\\n".join(lines))
assert len(read.labels) == len(list((here / "labels").glob("*.txt")))
print(ultralytics.__version__)
"""
PROGRAMS = {
    "labelme": ("labelme", LABELME),
    "pycocotools": ("coco", PYCOCOTOOLS),
    "datumaro": ("coco", DATUMARO),
    "ultralytics": ("yolo", ULTRALYTICS),
}
WITH_SPREAD = ("labelme", "pycocotools")  # the others keep only what their format knows


def write_labels(folder, kind, photos, points):
    """What `--labels` writes for these photos: in each face one point is unsure."""
    files = LabelFiles(folder, kind, KEY_POINTS)
    for number, (path, found) in enumerate(zip(photos, points, strict=True)):
        spread = np.ones(found.shape[:2])
        spread[:, number % len(KEY_POINTS)] = 20
        faces = Detections(found, spread, KEY_POINTS, None)
        files.add(path, Image.open(path).size, faces)
    files.write()


def faces_of(folder):
    """Names, and by photo the faces that are read from a folder of labels."""
    read = read_labels(folder)
    if read.problems.found:
        raise InputError(read.problems.found[0])
    return read.names, {photo.photo.stem[-8:]: photo.faces for photo in read.photos}


def compare(before, after, with_spread):
    """The largest distance between the points of two `faces_of`, in pixels of the photo.

    Raises InputError if a face, name, visibility or spread is another.
    """
    (names, old), (names_after, new) = before, after
    if names_after != names or old.keys() != new.keys():
        raise InputError(f"names or photos changed: {names_after}, {sorted(new)}.")
    largest = 0.0
    for photo, faces in old.items():
        center = lambda face: face.points.mean(0).round().tolist()  # noqa: E731
        pairs = list(zip(sorted(faces, key=center), sorted(new[photo], key=center), strict=True))
        for face, found in pairs:
            if found.visibility.tolist() != face.visibility.tolist():
                raise InputError(f"{photo}: the visibility became {found.visibility}.")
            if with_spread and found.spread.tolist() != face.spread.tolist():
                raise InputError(f"{photo}: the spread became {found.spread}.")
            largest = max(largest, np.abs(found.points - face.points).max())
    return largest


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Label files, read and written by annotation programs themselves.")
    for program in PROGRAMS:
        parser.add_argument(
            f"--{program}",
            nargs="+",
            type=Path,
            default=[],
            metavar="PYTHON",
            help=f"of environments with {program}",
        )
    return parser.parse_args(argv)


def run(arguments):
    """Hand labels to each program that was named, and print what came back."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        photos, points = make_photos(root / "photos", synthetic_faces(12, 3))
        environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "HOME": temporary}
        for program, (kind, code) in PROGRAMS.items():
            for python in getattr(arguments, program):
                folder = root / kind
                write_labels(folder, kind, photos, points)
                before = faces_of(folder)
                assert any((f.visibility == HIDDEN).any() for fs in before[1].values() for f in fs)
                command = [python, "-c", code, folder, root / "photos"]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise InputError(f"{program} failed: {done.stderr.strip()[-500:]}")
                if kind == "coco":  # whose info, with the photos' folder, is lost
                    for photo in photos:
                        shutil.copy(photo, folder)
                largest = compare(before, faces_of(folder), program in WITH_SPREAD)
                version = done.stdout.split()[-1]
                print(f"{program} {version}: {sum(map(len, before[1].values()))} faces come back,"
                      f" points within {largest:.4f} px", flush=True)  # fmt: skip
                shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
