"""Small photos, and a model and a search for them that need no TensorFlow."""

import os
import signal
from pathlib import Path

import numpy as np
from PIL import Image

import face_key_points as fkp
from data.key_points import KEY_POINTS
from data.synthetic.faces import make_faces
from models.detect.search import Detections
from models.storage import Landmarker

POINTS = make_faces(1, seed=9)[1][0] + 40.0


def stand_in_detect(landmarker, photo, *_):
    """As many faces as the photo's grey value says."""
    count = int(np.asarray(photo).flat[0]) % 4
    moved = POINTS + np.arange(count)[:, None, None]
    return Detections(moved, np.ones((count, 15)), KEY_POINTS, None)


def detect_or_die(landmarker, photo, *_):
    if int(np.asarray(photo).flat[0]) == 6:
        os._exit(1)
    return stand_in_detect(landmarker, photo)


def detect_or_kill_once(landmarker, photo, *_):
    killed = Path(os.environ["KILLED"])
    if int(np.asarray(photo).flat[0]) == 11 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return stand_in_detect(landmarker, photo)


def stand_in_model(path=None):
    """A model that needs no TensorFlow."""
    return Landmarker(None, {"key_points": KEY_POINTS, "weights_sha256": "a"}, Path("m.keras"))


def photos_in(folder, count, start=0):
    """So many photos, each of one grey value: its number."""
    folder.mkdir(exist_ok=True)
    for i in range(start, start + count):
        Image.new("L", (8, 8), i % 256).save(folder / f"{i:05}.png")
    return folder


def run(*arguments):
    return fkp.main([str(a) for a in arguments])
