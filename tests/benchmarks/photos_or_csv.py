"""Training on labelled photos, or on a CSV of the same faces: the same held-out error?

    python tests/benchmarks/photos_or_csv.py [--train 400] [--held-out 300] [--epochs 4] [--seeds 2]

Draws photos of synthetic heads with their surroundings, labels them in COCO's format, and writes a
CSV of the same faces as their photographer framed them. From models/pretrained.keras it trains on
the CSV and on the photos, and prints the errors on held-out faces, framed both ways.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import common
import numpy as np
from PIL import Image

from data.faces import load_training
from data.formats.coco import coco_document
from data.formats.labels import VISIBLE, LabelledFace, LabelledPhoto
from data.images.crops import cut_crop
from data.images.photos import read_photo
from data.key_points import KEY_POINTS, SIZE, rmse
from data.settings import Settings
from data.synthetic import faces as synthetic
from data.synthetic.camera import ZOOM, frame_face, to_canvas
from data.system.command_line import positive, run_script
from data.system.progress import follow
from data.tables import write_faces
from models.network import has_bfloat16, predict
from models.storage import SHIPPED, load_model
from models.training.fit import train

ENLARGED = 2  # pixels of a photo per pixel of a face's 96x96 picture
SURROUNDINGS = round((ZOOM - 1) * SIZE / 2)  # pixels that a photo shows around this picture


def frame_smaller(points, rotation, rng):
    """`frame_face` of a photo in which the face's 96x96 picture has surroundings."""
    scale, shift = frame_face(points, rotation, rng)
    middle = (SIZE - 1) / 2
    return scale / ZOOM, ((shift - middle) / ZOOM + middle).astype(np.float32)


def expose(canvas, rng):
    """All of a canvas (144, 144) as grey values 0 .. 255, with noise."""
    black, white, gamma = rng.uniform(0, 50), rng.uniform(130, 255), np.exp(rng.normal(0, 0.2))
    bright = np.clip(canvas / np.percentile(canvas, 97), 0, 1) ** gamma
    grey = black + (white - black) * bright + rng.uniform(0.5, 5) * rng.normal(size=canvas.shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def draw_photos(folder, count, seed):
    """Draw photos of one face each as JPEGs. Returns them as LabelledPhotos, and the faces'
    pictures (N, 96, 96) as framed by the photographer, with their key points (N, 15, 2)."""
    folder.mkdir()
    labelled, pictures, points = [], [], []
    affine = np.array([[ENLARGED, 0, 0], [0, ENLARGED, 0]], float)
    affine[:, 2] = (SURROUNDINGS + 0.5) * ENLARGED - 0.5
    with patch.multiple(synthetic, frame_face=frame_smaller, photograph=expose):
        for i in follow(range(count), "drawing photos"):
            grey, places = synthetic.draw_face(seed, i)
            places = (to_canvas(places) + 0.5) * ENLARGED - 0.5
            size = (len(grey) * ENLARGED,) * 2
            path = folder / f"{i:05}.jpg"
            large = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)
            large.convert("RGB").save(path, quality=92)
            face = LabelledFace(places, np.full(len(KEY_POINTS), VISIBLE))
            labelled.append(LabelledPhoto(path, path.name, folder, [face], size))
            grey = np.asarray(read_photo(path).convert("L"))
            pictures.append(np.clip(np.rint(cut_crop(grey, affine)), 0, 255).astype(np.uint8))
            points.append((places - affine[:, 2]) / ENLARGED)
    return labelled, np.array(pictures), np.array(points)


def make_sets(folder, arguments):
    """The faces to train on and those held out, each once from the CSV and once from the photos."""
    sets = {}
    for part, count, seed in (
        ("training", arguments.train, 500),
        ("held-out", arguments.held_out, 501),
    ):
        labelled, pictures, points = draw_photos(folder / part, count, seed)
        document = coco_document(labelled, KEY_POINTS, folder / part)
        (folder / part / "coco.json").write_text(json.dumps(document))
        write_faces(folder / f"{part}.csv", pictures, points)
        sets[part, "CSV"] = load_training(folder / f"{part}.csv")
        sets[part, "photos"] = load_training(folder / part)
    return sets


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Train on labelled photos, and on a CSV of the same faces.")
    parser.add_argument("--train", type=positive(int), default=400, help="faces to train on")
    parser.add_argument("--held-out", type=positive(int), default=300, help="faces held out")
    parser.add_argument("--epochs", type=positive(int), default=4, help="of each training")
    parser.add_argument("--seeds", type=positive(int), default=2, help="trainings of each kind")
    return parser.parse_args(argv)


def run(arguments):
    """Train with each seed on each kind of faces, and print."""
    with tempfile.TemporaryDirectory() as folder:
        sets = make_sets(Path(folder), arguments)
    initial, _ = load_model(SHIPPED)
    held_out = {kind: sets["held-out", kind] for kind in ("CSV", "photos")}
    precision = "bfloat16" if has_bfloat16() else "float32"
    errors = {kind: [] for part, kind in sets if part == "training"}
    for seed in range(arguments.seeds):
        for kind, found in errors.items():
            settings = Settings(seed=seed, epochs=arguments.epochs, batch_size=32, spread_steps=1)
            settings = replace(settings, warmup_steps=20)
            training = sets["training", kind]
            few = held_out["photos"].take(np.arange(32))  # after each epoch; all come below
            model, _, _ = train(training, few, settings, precision, initial=initial)
            found.append(
                [rmse(predict(model, f.pictures)[0], f.key_points) for f in held_out.values()]
            )
            print(f"seed {seed}, {kind}: " + ", ".join(f"{e:.3f}" for e in found[-1]), flush=True)
    print_errors(errors, list(held_out))


def print_errors(errors, framings):
    """Print the mean error of each kind of training, and how far its seeds lie apart."""
    header = ["trained on", *(f"held-out RMSE, framed as in the {f}" for f in framings)]
    rows = []
    for kind, found in errors.items():
        columns = np.array(found).T
        noise = [f" ± {np.std(c, ddof=1):.3f}" if len(c) > 1 else "" for c in columns]
        cells = [f"{np.mean(c):.3f}{n} px" for c, n in zip(columns, noise, strict=True)]
        rows.append([kind, *cells])
    print(common.markdown(header, rows))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
