"""Recall and false positives for faces pasted into photos, and how much the box matters.

    python tests/benchmarks/photo_faces.py [ARCHIVE] [--faces 500] [--seed 1]

Pastes wild faces that the model was not trained on, four at a time and at sizes from 40 to 400
pixels, into backgrounds cut from scikit-learn's two sample photographs (a palace, a flower), and
searches them twice: with OpenCV's plain frontal cascade, if OpenCV 4 is installed, and as
`face_key_points.py --image` does. A face is found if the mean error of its key points, for the
plain cascade those predicted in its box, is below a quarter of the inter-ocular distance (40 pixels
of the 96 of a crop). A detection that is not near a face is a false positive. Turned faces
are those of AFLW with hidden points.

Then the box: from the box that fits each of 200 faces, moved by 10 % of its side to each of the
four sides, and made 10 % smaller and larger, the key points are predicted again. Prints by how much
the result moves, in % of the inter-ocular distance.
"""

import sys
import time
from functools import partial
from pathlib import Path

import common
import numpy as np
import photo_search
import wild_faces_csv as wild

from data.images.crops import affines_from_boxes
from data.key_points import KEY_POINTS, SIZE, interocular_distance
from data.system.command_line import natural, positive, run_script
from data.system.files import InputError
from models.detect.search import detect, detect_in_boxes, predict_crops
from models.storage import SHIPPED, load_landmarker

WIDTH, HEIGHT, PER_SCENE = 900, 620, 4
SMALLEST, LARGEST = 40, 400  # side of the crop as trained, in pixels of the scene
FOUND = 0.25 * 40 / SIZE  # mean error, in sides of the crop
# Faces that the detector's thresholds were tuned on; others are scored.
TUNED_ON = 240


def held_out_rows(archive, record):
    """Rows of the archive that the model of that record was not trained on, in random order."""
    rows = []
    for source in wild.SOURCES:
        of_source = np.flatnonzero(archive["source"] == source)
        for data in record["data"]:
            if Path(data["path"]).name == f"{source}.csv":
                rows.append(of_source[data["validation_rows"]])
    if not rows:
        raise InputError(
            "The model's record names no lfw.csv or aflw.csv: it may have seen these faces."
        )
    return np.random.default_rng(0).permutation(np.concatenate(rows))[TUNED_ON:]


def backgrounds():
    """scikit-learn's sample photographs, which show no face, in grey: a list of uint8 (H, W)."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    return [np.array(Image.fromarray(image).convert("L")) for image in load_sample_images().images]


def make_background(photographs, rng):
    """Up to nine crops of the photographs side by side, PIL grey picture."""
    from PIL import Image

    scene = Image.new("L", (WIDTH, HEIGHT))
    tiles = int(rng.integers(1, 4))
    w, h = -(-WIDTH // tiles), -(-HEIGHT // tiles)
    for x in range(0, WIDTH, w):
        for y in range(0, HEIGHT, h):
            photo = photographs[rng.integers(len(photographs))]
            part = np.array(photo.shape) * rng.uniform(0.4, 1)
            top, left = (int(v) for v in rng.uniform(0, photo.shape - part))
            crop = photo[top : top + int(part[0]), left : left + int(part[1])]
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            scene.paste(Image.fromarray(crop).resize((w, h)), (x, y))
    return scene


def make_scene(photographs, faces, rng):
    """A scene with `faces`, pictures (N, 96, 96), that do not overlap.

    Returns a uint8 (H, W) picture and the squares that the faces cover, (N, 3) x y side; NaN for
    faces that did not fit. Their edges are blended.
    """
    from PIL import Image

    scene = make_background(photographs, rng)
    edge = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1])
    mask = np.clip(np.minimum(edge, edge[:, None]) / 10, 0, 1) * 255
    mask = Image.fromarray(mask.astype(np.uint8))
    sides = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), len(faces))).astype(int)
    squares = np.full((len(faces), 3), np.nan)
    for i in np.argsort(-sides):
        side = int(sides[i])
        for _ in range(100):
            x, y = int(rng.integers(WIDTH - side)), int(rng.integers(HEIGHT - side))
            placed = squares[np.isfinite(squares[:, 0])]
            middle = x + side / 2, y + side / 2
            apart = np.abs(placed[:, :2] + placed[:, 2:] / 2 - middle).max(1)
            if (apart >= (placed[:, 2] + side) / 2).all():
                face = Image.fromarray(faces[i]).resize((side, side), Image.Resampling.BICUBIC)
                scene.paste(face, (x, y), mask.resize((side, side)))
                squares[i] = x, y, side
                break
    return np.array(scene), squares


def plain_cascade(landmarker, cascade, grey):
    """Key points (N, 15, 2) in the boxes of OpenCV's frontal cascade with its usual parameters."""
    x, y, side = cascade(grey).T
    if not len(x):
        return np.empty((0, len(KEY_POINTS), 2))
    boxes = np.column_stack([x - (side - 1) / 2, y - (side - 1) / 2, side, side])
    return predict_crops(landmarker, grey, affines_from_boxes(boxes))[0]


def match(found, truth, squares):
    """Which faces were found, (N,) bool, their errors in sides (N,), and the false positives.

    Args:
        found: (M, 15, 2); truth: (N, 15, 2), NaN where not marked; squares: (N, 3) as placed.
    """
    if not len(found) or not len(truth):
        return np.zeros(len(truth), bool), np.full(len(truth), np.nan), len(found)
    distance = np.linalg.norm(found[:, None] - truth, axis=-1)
    error = np.nanmean(distance, -1) / squares[:, 2]  # (M, N)
    alarms = (error > FOUND).all(1).sum()
    best = error.min(0)
    return best < FOUND, best, int(alarms)


def measure_recall(landmarker, archive, path, rows, rng):
    """Print the tables of recall and false positives of both ways to detect faces."""
    photographs = backgrounds()
    ways = {"`--image`": lambda grey: detect(landmarker, grey).points}
    cascade = photo_search.plain_cascade()
    if cascade:
        ways = {"plain frontal cascade": partial(plain_cascade, landmarker, cascade), **ways}
    hits, alarms, seconds = ({way: [] for way in ways} for _ in range(3))
    errors, sides, placed = [], [], []
    for start in range(0, len(rows), PER_SCENE):
        chosen = rows[start : start + PER_SCENE]
        pictures = np.array([picture(archive, path, row) for row in chosen])
        grey, squares = make_scene(photographs, pictures, rng)
        inside = np.isfinite(squares[:, 0])
        chosen, squares = chosen[inside], squares[inside]
        truth = (archive["key_points"][chosen] + 0.5) * (squares[:, 2] / SIZE)[:, None, None]
        truth = truth - 0.5 + squares[:, None, :2]
        for way, look in ways.items():
            started = time.process_time()
            hit, error, alarm = match(look(grey), truth, squares)
            seconds[way].append(time.process_time() - started)
            hits[way].append(hit)
            alarms[way].append(alarm)
        errors.append(error[hit])
        sides.append(squares[:, 2])
        placed.append(chosen)
    sides, placed = np.concatenate(sides), np.concatenate(placed)
    missing = np.isnan(archive["key_points"][placed, :, 0])
    aflw = archive["source"][placed] == "aflw"
    # AFLW never marks the lips' centres; what else it leaves out is hidden.
    turned = aflw & (missing.sum(1) > 2)
    sets = {
        "all": np.ones(len(sides), bool),
        "40 to 64 px": sides < 64,
        "64 to 128 px": (sides >= 64) & (sides < 128),
        "128 to 400 px": sides >= 128,
        "turned (AFLW with hidden points)": turned,
        "the others": ~turned,
    }
    print(f"| faces | number | {' | '.join(ways)} |\n|---|---:|{'---:|' * len(ways)}")
    hits = {way: np.concatenate(hit) for way, hit in hits.items()}
    for name, mask in sets.items():
        shares = " | ".join(f"{100 * hit[mask].mean():.1f} %" for hit in hits.values())
        print(f"| {name} | {mask.sum()} | {shares} |")
    counts = " | ".join(str(sum(alarm)) for alarm in alarms.values())
    print(f"| false positives in {len(errors)} scenes | | {counts} |")
    times = " | ".join(f"{np.mean(spent):.2f} s" for spent in seconds.values())
    print(f"| processor time per scene of {WIDTH}x{HEIGHT} | | {times} |")
    error = 100 * np.mean(np.concatenate(errors))
    print(f"\nmean error of the faces that `--image` found: {error:.2f} % of the box's side")


def measure_box(landmarker, archive, path, rows):
    """Print by how much the result moves with the box, in % of the inter-ocular distance."""
    changes = {"with the second crop": [], "without": []}
    for row in rows:
        grey = picture(archive, path, row)
        x, y, w, _ = detect_in_boxes(landmarker, grey, [[0, 0, SIZE, SIZE]]).boxes[0]
        steps = [(0, 0), (-0.1, 0), (0.1, 0), (0, -0.1), (0, 0.1)]
        boxes = [(x + dx * w, y + dy * w, w, w) for dx, dy in steps]
        boxes += [(x + (1 - s) * w / 2, y + (1 - s) * w / 2, s * w, s * w) for s in (0.9, 1.1)]
        twice = detect_in_boxes(landmarker, grey, boxes).points
        once, _ = predict_crops(landmarker, grey, affines_from_boxes(boxes))
        for name, points in zip(changes, (twice, once), strict=True):
            distance = np.linalg.norm(points[1:] - points[0], axis=-1).mean(1)
            changes[name].append(distance / interocular_distance(points[:1]))
    print(
        f"\nchange of the result as the box of {len(rows)} faces is moved by 10 % of its side, and"
    )
    print("made 10 % smaller and larger, in % of the inter-ocular distance:")
    for name, values in changes.items():
        values = np.array(values)  # (faces, 6)
        moved, scaled = (100 * np.median(part) for part in (values[:, :4], values[:, 4:]))
        worst = 100 * np.percentile(values, 95)
        print(
            f"{name}: median moved {moved:.2f} %, scaled {scaled:.2f} %; of all, the 95th"
            f" percentile is {worst:.2f} %"
        )


def picture(archive, path, row):
    """Picture `row` of the archive, uint8 (96, 96)."""
    offset = archive["offset"]
    grey = wild.decode(archive["jpeg"][offset[row] : offset[row + 1]].tobytes(), path, row)
    return np.frombuffer(grey, np.uint8).reshape(SIZE, SIZE)


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser(
        "Recall and false positives of the face detector; how much the box matters."
    )
    parser.add_argument(
        "archive", nargs="?", type=Path, default=common.ARCHIVE, help="of wild faces"
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="the trained model")
    parser.add_argument("--faces", type=positive(int), default=500, help="faces to paste")
    parser.add_argument("--box-faces", type=positive(int), default=200, help="faces to move")
    parser.add_argument("--seed", type=natural, default=1, help="of the scenes")
    return parser.parse_args(argv)


def run(arguments):
    """Measure and print."""
    archive = wild.load_archive(arguments.archive)
    landmarker = load_landmarker(arguments.model)
    rows = held_out_rows(archive, landmarker.record)
    rng = np.random.default_rng(arguments.seed)
    measure_recall(landmarker, archive, arguments.archive, rows[: arguments.faces], rng)
    measure_box(landmarker, archive, arguments.archive, rows[: arguments.box_faces])


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
