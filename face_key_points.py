"""Picture what a trained model finds on the test faces, and where it is wrong on held-out ones.

    python face_key_points.py                            # my_model.keras, else the shipped one
    python face_key_points.py --data test.zip            # Kaggle's test file just as it comes
    python face_key_points.py --image photo.jpg holiday/ # the faces in one's own photos
    python face_key_points.py --submission IdLookupTable.csv # Kaggle's answers
    python face_key_points.py --export litert            # the model for phones, or onnx for servers

The file reads in the order in which the data flows:
model -> test faces -> held-out faces -> errors -> pictures; then the same for photos; then answers
for Kaggle and the exports.
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import chain, count
from pathlib import Path

import numpy as np

from model_builder import (
    COLUMNS,
    FEW_POINTS,
    HERE,
    KEY_POINTS,
    REGION_90,
    SIZE,
    InputError,
    columns_of,
    eye_centres,
    few_apart,
    find_data,
    fingerprint,
    interocular_distance,
    load_model,
    load_training,
    main,
    make_folder,
    names_of,
    one_line,
    predict,
    read_faces,
    read_table,
    region_radius,
    replace_file,
    rmse,
    synthetic_faces,
)

SHIPPED = HERE / "models" / "pretrained.keras"
PER_PICTURE = 16  # faces in each picture, 4 by 4
UNSURE = 3.0  # pixels: a point of larger spread is drawn hollow; see models/README.md
FAILURE = 0.10  # a face whose mean error is above this share of the inter-ocular distance failed
SYNTHETIC_TEST = 200  # made-up test faces where there is no file: enough for a look
SYNTHETIC_SEED = 1  # not the training's default: other faces

# Okabe and Ito's colours, told apart by colour-blind eyes too; the triangles point outwards.
COLOURS = {"eyebrow": "#F0E442", "eye": "#56B4E9", "nose": "#009E73", "mouth": "#E69F00"}
OTHER = "#CC79A7"  # of points whose names say none of these parts
MARKERS = {"left": ">", "right": "<", "middle": "o"}


# --- model and faces -----------------------------------------------------------------------------


def find_model():
    """The model to use where none is named: the user's own, else the shipped one."""
    own = HERE / "models" / "my_model.keras"
    return own if own.exists() or not SHIPPED.exists() else SHIPPED


def held_out_faces(record, model_path, training=None, names=KEY_POINTS):
    """The faces that were held out when the model was trained.

    Args:
        record: the JSON written beside the model.
        model_path: the model's path.
        training: the CSV to find them in; unset: the one that the record names, or training.csv
            in data/, or the made-up faces made again.
        names: of the model's key points.

    Returns:
        Faces; `rows` are 0-based rows of the file. None for the shipped model, whose data a user
        need not have, where they are not here.

    Raises:
        InputError: there is no record, or the file is another than the one trained on.
    """
    if not record.get("data"):
        raise InputError(
            f"{model_path.with_suffix('.json')} is missing, belongs to another model or names no"
            " data, so the held-out faces cannot be found; train the model again with:"
            " python model_builder.py"
        )
    tried, problems = [], []
    for path in [training] if training else recorded_paths(record):
        if path is None:
            faces = synthetic_faces(record["data"][0]["faces"], record["settings"]["seed"])
        else:
            try:
                faces = load_training(path, record["complete_only"], names)
            except InputError as problem:
                problems.append(problem)
                continue
        mark = fingerprint(faces)
        for i, data in enumerate(record["data"]):
            if data["sha256"] == mark:
                faces = few_apart(faces) if i == 0 else faces
                return faces.take(np.isin(faces.rows, data["validation_rows"]))
        tried.append(str(faces.path))
    if training is None and model_path.resolve() == SHIPPED:
        return None
    if problems and not tried:
        raise problems[0]
    trained_on = ", ".join(data["path"] for data in record["data"])
    raise InputError(
        f"{' and '.join(tried) or 'what is in data/'} is not the data that {model_path} was trained"
        f" on ({trained_on}), so its faces may not be held-out ones; name that file by --training."
    )


def recorded_paths(record):
    """Where the data that the record names may be now: paths, or None for made-up faces."""
    if record["data"][0]["synthetic_faces"]:
        return [None]
    named = [folder / data["path"] for data in record["data"] for folder in (Path(), HERE)]
    candidates = [*named, find_data("training")]
    return list(dict.fromkeys(path for path in candidates if path and path.is_file()))


# --- test faces ----------------------------------------------------------------------------------


def output_columns(names):
    """The CSV columns of the key points `names` (K,): the 2K coordinates, then the K spreads."""
    return [*columns_of(names), *(f"{name}_spread" for name in names)]


def write_key_points(file, image_ids, key_points, spread, header, names=KEY_POINTS):
    """Append `ImageId`, the 2K coordinates and the K points' spread, in pixels, to an open CSV."""
    import pandas as pd

    values = np.concatenate([key_points.reshape(len(key_points), -1), spread], axis=1)
    table = pd.DataFrame(values, columns=output_columns(names))
    table.insert(0, "ImageId", image_ids)
    table.to_csv(file, index=False, header=header, float_format="%.3f")


def predict_file(model, parts, path, mirror, names=KEY_POINTS):
    """Predict test faces into a CSV, part by part: memory does not grow with their number.

    Args:
        model: as from `load_model`.
        parts: an iterable of Faces, such as `read_faces` gives.
        path: the CSV to write; an error in a late part leaves an earlier file as it was.
        mirror: average with the prediction of the mirrored pictures.
        names: of the model's key points.

    Returns:
        The number of faces, and the first and the last 16 as lists of (picture, key points,
        spread, ImageId).
    """
    first, last, count = [], [], 0

    def write(temporary):
        nonlocal first, last, count
        with open(temporary, "w", newline="") as file:
            for faces in parts:
                found = predict(model, faces.pictures, mirror, names=names)
                write_key_points(file, faces.image_ids, *found, not count, names)
                count += len(faces.rows)
                some = list(zip(faces.pictures, *found, faces.image_ids, strict=True))
                first = (first + some)[:PER_PICTURE]
                last = (last + some)[-PER_PICTURE:]

    replace_file(path, write)
    return count, first, last


# --- errors --------------------------------------------------------------------------------------


def point_errors(predicted, truth):
    """Distance between prediction and truth, (N, K) pixels, NaN where there is no truth."""
    return np.linalg.norm(predicted - truth, axis=-1)


def face_errors(predicted, truth):
    """RMSE of each face over its labelled coordinates, (N,) pixels."""
    return np.sqrt(np.nanmean((predicted - truth) ** 2, axis=(1, 2)))


def normalised_by(names=KEY_POINTS):
    """What errors are a share of: the eyes' distance, where the key points have eye centres."""
    return "inter-ocular distance" if eye_centres(names) else "bounding box diagonal"


def normalised_errors(predicted, truth, names=KEY_POINTS):
    """NME of each face: mean distance as a share of what `normalised_by` says, (N,).

    NaN without both eyes' centres or, where the key points have none, without all points.
    """
    eyes = eye_centres(names)
    if eyes:
        size = interocular_distance(truth, eyes)
    else:
        size = np.linalg.norm(truth.max(1) - truth.min(1), axis=-1)
    return np.nanmean(point_errors(predicted, truth), 1) / np.where(size > 0, size, np.nan)


def measure(predicted, truth, names=KEY_POINTS):
    """What goes into validation.json: errors in pixels and as a share of the face's size.

    Args:
        predicted, truth: (N, K, 2) pixels; NaN truth is masked everywhere.
        names: of the K key points.
    """
    errors, nme = point_errors(predicted, truth), normalised_errors(predicted, truth, names)
    measurable = nme[np.isfinite(nme)]

    def share_or_none(values, statistic):
        return float(statistic(values)) if values.size else None

    per_key_point = {}
    for k, name in enumerate(names):
        labelled = np.isfinite(errors[:, k])
        found = errors[labelled, k]
        per_key_point[name] = {
            "faces": int(labelled.sum()),
            "rmse_px": rmse(predicted[labelled, k], truth[labelled, k]) if found.size else None,
            "mean_distance_px": share_or_none(found, np.mean),
            "median_distance_px": share_or_none(found, np.median),
        }
    return {
        "faces": len(truth),
        "rmse_px": rmse(predicted, truth),
        "mean_distance_px": float(np.nanmean(errors)),
        "nme": share_or_none(measurable, np.mean),
        "normalised_by": normalised_by(names),
        "failure_rate": share_or_none(measurable > FAILURE, np.mean),
        "failure_above_nme": FAILURE,
        "per_key_point": per_key_point,
    }


def rmse_per_part(predicted, truth, rows, first_rows):
    """RMSE in pixels by the part of the file that a face's row is in: who marked it.

    Args:
        predicted, truth: (N, K, 2) pixels; NaN truth is masked.
        rows: (N,) rows of the file, counted from 0.
        first_rows: at which each part begins, ascending.

    Returns:
        A list of dicts: first_row, faces, rmse_px (None without a face).
    """
    part = np.searchsorted(first_rows, rows, side="right") - 1
    report = []
    for i, first in enumerate(first_rows):
        here = part == i
        error = rmse(predicted[here], truth[here]) if here.any() else None
        report.append({"first_row": first, "faces": int(here.sum()), "rmse_px": error})
    return report


REGIONS = (0.5, 0.8, 0.9, 0.95)  # the shares of true points whose regions are checked


def face_spread(spread):
    """One number for each face: the root mean square of its points' spreads (N, K), (N,)."""
    return np.sqrt((spread**2).mean(1))


def coverage(predicted, spread, truth, share):
    """Share of the true points that lie within their `share` regions, 0 .. 1."""
    errors = point_errors(predicted, truth)
    within = errors <= region_radius(share) * spread
    return float(within[np.isfinite(errors)].mean())


def sparsification(errors, doubt, shares):
    """RMSE of what remains when the points of the most doubt are left out; the shares' list.

    Args:
        errors, doubt: (M,) of each point; errors are distances, the RMSE is per coordinate.
        shares: of the points left out, each 0 .. below 1.
    """
    squares = errors[np.argsort(doubt)] ** 2 / 2
    remain = [max(round((1 - share) * len(squares)), 1) for share in shares]
    return [float(np.sqrt(squares[:count].mean())) for count in remain]


def measure_spread(predicted, spread, truth):
    """What goes into validation.json about the spread: does it know where the points are wrong?

    Args:
        predicted, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.
    """
    errors = point_errors(predicted, truth)
    labelled = np.isfinite(errors)
    whole, rest = sparsification(errors[labelled], spread[labelled], (0, 0.2))
    return {
        "coverage": {f"{p:.0%}": coverage(predicted, spread, truth, p) for p in REGIONS},
        "rmse_without_least_certain_fifth_px": rest,
        "lowered_by": 1 - rest / whole if whole else 0.0,
        "unsure_above_px": UNSURE,
        "unsure_points": float((spread[labelled] > UNSURE).mean()),
    }


# --- pictures ------------------------------------------------------------------------------------


def start_plotting():
    """Matplotlib's pyplot, drawing into files: no screen is needed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_figure(plt, figure, path):
    """Write the figure as a whole file, and forget it."""
    replace_file(path, lambda file: figure.savefig(file, dpi=110))
    plt.close(figure)


def face_grid(plt, pictures, titles):
    """A figure of up to 16 faces and the axes that they are on."""
    figure, axes = plt.subplots(4, 4, figsize=(10, 10.8), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        # Without ticks, which are hidden here but cost as much as the rest.
        axis.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5), xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
    return figure, axes.flat


def style_of(name):
    """Colour, marker and legend entry of a key point: colour tells the part, marker the side."""
    part = next((part for part in COLOURS if part in name), "other")
    side = next((word for word in name.split("_") if word in MARKERS), "middle")
    label = f"{part}, {side}" if side != "middle" else part
    return COLOURS.get(part, OTHER), MARKERS[side], label


def draw_regions(axis, points, spread, colours):
    """Rings round points (K, 2) that hold the true ones nine times out of ten."""
    from matplotlib.collections import EllipseCollection

    across = 2 * REGION_90 * spread
    rings = EllipseCollection(
        across,
        across,
        np.zeros_like(across),
        units="xy",
        offsets=points,
        offset_transform=axis.transData,
        facecolors="none",
        edgecolors=colours,
        linewidths=0.8,
        alpha=0.9,
    )
    axis.add_collection(rings, autolim=False)


def plot_faces(path, pictures, key_points, spread, titles, names=KEY_POINTS):
    """Picture up to 16 faces (N, 96, 96) with key points (N, K, 2) and their spread (N, K)."""
    plt = start_plotting()
    figure, axes = face_grid(plt, pictures, titles)
    styles = [style_of(name) for name in names]
    sure = {"ms": 5, "mec": "black", "mew": 0.5}
    for axis, points, radii in zip(axes, key_points, spread, strict=False):
        draw_regions(axis, points, radii, [colour for colour, _, _ in styles])
        for (colour, marker, _), (x, y), radius in zip(styles, points, radii, strict=True):
            unsure = {"ms": 5, "mec": colour, "mew": 1, "mfc": "none"}
            axis.plot(x, y, marker, color=colour, **(unsure if radius > UNSURE else sure))
    handles = [
        line
        for colour, marker, label in dict.fromkeys(styles)
        for line in figure.axes[0].plot([], [], marker, color=colour, label=label, **sure)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 8),
        fontsize=8,
        columnspacing=1,
        title="left and right are the subject's; ring: 90 % region; hollow: not sure",
        title_fontsize=8,
    )
    save_figure(plt, figure, path)


def plot_worst(path, faces, predicted, spread):
    """Picture the 16 faces with the largest RMSE: truth, prediction and lines between them.

    A line is red where the true point lies outside of the 90 % region: wrong, and too sure.
    """
    plt = start_plotting()
    errors = face_errors(predicted, faces.key_points)
    worst = np.argsort(-errors)[:PER_PICTURE]
    expected = face_spread(spread)
    titles = [f"row {faces.rows[i]}: {errors[i]:.2f} px, expected {expected[i]:.2f}" for i in worst]
    figure, axes = face_grid(plt, faces.pictures[worst], titles)
    sure = {"color": "#D55E00", "mec": "black", "mew": 0.5}
    unsure = {"mec": "#D55E00", "mfc": "none", "mew": 1}
    for axis, i in zip(axes, worst, strict=False):
        truth = faces.key_points[i]
        draw_regions(axis, predicted[i], spread[i], "#D55E00")
        for (x0, y0), (x1, y1), radius in zip(truth, predicted[i], spread[i], strict=True):
            outside = np.hypot(x1 - x0, y1 - y0) > REGION_90 * radius
            axis.plot([x0, x1], [y0, y1], "-", color="red" if outside else "white", lw=1)
            axis.plot(x1, y1, "X", ms=5, **(unsure if radius > UNSURE else sure))
        axis.plot(*truth.T, "o", color="#009E73", ms=4, mec="black", mew=0.5)
    axis = figure.axes[0]
    handles = [
        *axis.plot([], [], "o", color="#009E73", ms=4, mec="black", mew=0.5, label="truth"),
        *axis.plot([], [], "X", ms=5, **sure, label="model"),
        *axis.plot([], [], "X", ms=5, **unsure, label=f"model, unsure (spread above {UNSURE} px)"),
        *axis.plot([], [], "-", color="red", lw=1, label="outside of the 90 % region: too sure"),
    ]
    figure.suptitle(f"The worst {len(worst)} of {len(errors)} held-out faces (RMSE of each)")
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    save_figure(plt, figure, path)


def plot_errors(path, predicted, truth, names=KEY_POINTS):
    """Picture the error per key point, and the share of faces below an error."""
    plt = start_plotting()
    errors = point_errors(predicted, truth)
    height = max(5.5, 0.2 * len(names))
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(15, height), layout="constrained", width_ratios=(1.6, 1, 1)
    )
    columns = [column[np.isfinite(column)] for column in errors.T]
    boxes = left.boxplot(
        columns,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "black"},
    )
    for name, box in zip(names, boxes["boxes"], strict=True):
        box.set_facecolor(style_of(name)[0])
    left.set_yticks(range(1, len(names) + 1), [name.replace("_", " ") for name in names])
    left.invert_yaxis()
    left.set(title="Error per key point: quartiles, 5 to 95 %", xlabel="distance, px")
    left.grid(axis="x", alpha=0.3)

    nme = normalised_errors(predicted, truth, names)
    for axis, values, unit in (
        (middle, np.nanmean(errors, 1), "px"),
        (right, 100 * nme[np.isfinite(nme)], f"% of the {normalised_by(names)}"),
    ):
        values = np.sort(values)
        shares = 100 * np.arange(1, len(values) + 1) / max(len(values), 1)
        axis.step(values, shares, where="post", color="#0072B2")
        axis.set(title="Cumulative error", xlabel=f"mean distance, {unit}", ylabel="faces below, %")
        axis.set_ylim(0, 101)
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
    right.axvline(100 * FAILURE, color="#D55E00", ls="--", label="counts as failed beyond")
    right.legend(loc="lower right")
    save_figure(plt, figure, path)


def plot_calibration(path, predicted, spread, truth):
    """Picture whether the spread is right: against the real error, as coverage, and as a ranking.

    Args:
        predicted, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.
    """
    plt = start_plotting()
    errors = point_errors(predicted, truth)
    labelled = np.isfinite(errors)
    errors, doubt = errors[labelled], spread[labelled]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 5), layout="constrained")

    bins = [part for part in np.array_split(np.argsort(doubt), 10) if part.size]
    told = [np.sqrt((doubt[part] ** 2).mean()) for part in bins]
    real = [np.sqrt((errors[part] ** 2).mean() / 2) for part in bins]
    limits = [0.8 * min(told + real), 1.25 * max(told + real)]
    left.plot(limits, limits, "--", color="grey", label="as it should be")
    left.plot(told, real, "o-", color="#0072B2", label="a tenth of the points each")
    left.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    for side in (left.xaxis, left.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_formatter("{x:g}")
    left.tick_params(which="minor", labelsize=7)
    left.set(title="Expected and real error", xlabel="spread, px", ylabel="RMSE, px")
    left.legend(loc="upper left")

    shares = np.array(REGIONS)
    covered = [coverage(predicted, spread, truth, share) for share in shares]
    places = np.arange(len(shares))
    bars = middle.bar(places, 100 * np.array(covered), color="#56B4E9", label="true points inside")
    middle.bar_label(bars, fmt="%.1f")
    middle.hlines(100 * shares, places - 0.2, places + 0.2, color="black", label="as it should be")
    middle.set_xticks(places, [f"{share:.0%} region" for share in shares])
    middle.set(title="Coverage", ylabel="%", ylim=(0, 105))
    middle.legend(loc="lower right")

    left_out = np.arange(0, 0.96, 0.05)
    for name, order, style in (
        ("by the spread", doubt, "-"),
        ("by the real error: the best there is", errors, ":"),
    ):
        right.plot(100 * left_out, sparsification(errors, order, left_out), style, label=name)
    right.axhline(np.sqrt((errors**2).mean() / 2), color="grey", ls="--", label="at random")
    right.set(title="RMSE of what is left", xlabel="least certain points left out, %")
    right.set(ylabel="RMSE, px", ylim=(0, None))
    right.legend()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    save_figure(plt, figure, path)


# --- photos --------------------------------------------------------------------------------------
# A face in a photo is cropped to 96x96 as the training's faces are, predicted, cropped again round
# the points found, and predicted once more; a crop is the 2x3 matrix of its pixels' places.

# What "as the training's faces are" means, measured on Kaggle's 2,140 complete faces: the mean of
# the 15 points is at (47.9, 47.3), +-1.2 and +-2.1 px; they are 26.5 px from it (root mean square,
# +-7 %); the eyes are level, +-4 degrees. So the second crop follows from the points of the first
# and hardly depends on the detector's box any more. For other key points than Kaggle's the mean
# face of their training says it.
CENTRE, RADIUS = np.array([47.9, 47.3]), 26.5

# Endings of files in a folder that ought to be pictures, so that one that is not gets told.
PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


def list_photos(paths):
    """The photos to look at: `paths`, and in place of a folder the files in it, by name.

    Raises InputError if a path does not exist or a folder has no pictures.
    """
    photos = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path of the photo.")
        files = [path]
        if path.is_dir():
            inside = sorted(f for f in path.iterdir() if f.is_file() and f.name[0] != ".")
            files = [f for f in inside if is_picture(f)]
            for file in inside:
                if file not in files:
                    print(f"{file} is not a picture: skipped.")
            if not files:
                raise InputError(f"{path} is a folder without pictures; give one with photos.")
        photos += files
    return list({photo.resolve(): photo for photo in photos}.values())


def is_picture(path):
    """Whether a file is a picture, or at least is called one."""
    from PIL import Image

    if path.suffix.lower() in PHOTO_ENDINGS:
        return True
    try:
        with Image.open(path):
            return True
    except Exception:  # Pillow raises whatever a broken file brings
        return False


def read_photo(path):
    """A photo as it is meant to be seen: a PIL RGB picture, upright, on white where transparent.

    Raises InputError if it is not a whole picture, or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                photo = ImageOps.exif_transpose(file)
                if photo.mode[0] in "IF":  # 16 bits, which Pillow would cut off at 255
                    values = np.asarray(photo, np.float32)
                    values = values / (257 if values.max() > 255 else 1)
                    photo = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
                if "A" in photo.getbands() or "transparency" in photo.info:
                    photo = photo.convert("RGBA")
                    photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
                return photo.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS // 10**6
        raise InputError(
            f"{path} has more than {limit} million pixels; shrink the photo first."
        ) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path} is empty or not a picture that can be read; save it as a JPEG or PNG."
        ) from None
    except Exception as error:  # Pillow raises whatever a broken file brings
        raise InputError(
            f"{path} cannot be read as a picture ({one_line(error)}); it may be cut short: copy it"
            " again."
        ) from None


def square_crops(boxes):
    """Crops (N, 2, 3) of the squares with the centres and areas of `boxes` (N, 4): x y w h, pixels.

    A crop maps a place in the 96x96 crop to one in the photo, both counted from the centre of the
    first pixel; a box is counted from its outer edge, so that 0 0 w h is all of a w x h photo.
    """
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T
    scale = np.sqrt(w * h) / SIZE
    middle = np.stack([x + (w - 1) / 2, y + (h - 1) / 2], -1)
    return _similarities(scale, 0 * scale, (SIZE - 1) / 2, middle)


def crop_face(record, names, model_path):
    """The mean face of the training, (K, 2) pixels of its crops; None for Kaggle's key points.

    Raises InputError if the model's record has none that crops can be laid by.
    """
    if names == KEY_POINTS:
        return None
    try:
        face = np.array(record["mean_face"], np.float64).reshape(len(names), 2)
    except (KeyError, TypeError, ValueError):
        face = np.full((len(names), 2), np.nan)
    if len(np.unique(face[np.isfinite(face).all(1)], axis=0)) < 2:
        raise InputError(
            f"{model_path.with_suffix('.json')} has no mean face of two points or more, by which"
            " --image crops photos; copy the one that was written with the model, or train again."
        )
    return face


def point_crops(points, face=None):
    """Upright crops as trained (N, 2, 3) round predicted points (N, K, 2), in photo pixels.

    `face` as from `crop_face`; the crops are those in which it lies best (least squares) on the
    points.
    """
    if face is not None:
        known = np.isfinite(face).all(1)
        anchor, middle = face[known].mean(0), points[:, known].mean(1)
        mean_face = (face[known] - anchor) @ (1, 1j)
        found = (points[:, known] - middle[:, None]) @ (1, 1j)
        turn = found @ mean_face.conj() / (np.abs(mean_face) ** 2).sum()
        return _similarities(np.abs(turn), np.angle(turn), anchor, middle)
    middle = points.mean(1)
    radius = np.sqrt(((points - middle[:, None]) ** 2).sum(-1).mean(1))
    left, right = eye_centres()
    across = points[:, left] - points[:, right]
    angle = np.arctan2(across[:, 1], across[:, 0])
    return _similarities(radius / RADIUS, angle, CENTRE, middle)


def _similarities(scale, angle, anchor, places):
    """Matrices (N, 2, 3) that scale and turn by (N,) and take `anchor` (2,) to `places` (N, 2)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    offset = places - linear @ np.broadcast_to(anchor, 2)
    return np.concatenate([linear, offset[..., None]], -1)


def move_points(points, crops):
    """Points (N, K, 2) of crops (N, 2, 3) as places in the photo."""
    return points @ crops[:, :, :2].transpose(0, 2, 1) + crops[:, None, :, 2]


def crop_scales(crops):
    """How many photo pixels wide a pixel of each crop (N, 2, 3) is, (N,)."""
    return np.sqrt(np.linalg.det(crops[:, :, :2]))


def crop_boxes(crops):
    """Boxes (N, 4), x y w h in pixels, of crops: `square_crops` the other way round."""
    side = SIZE * crop_scales(crops)
    middle = move_points(np.full((len(crops), 1, 2), (SIZE - 1) / 2), crops)[:, 0]
    return np.column_stack([middle - (side[:, None] - 1) / 2, side, side])


def cut_crop(grey, crop):
    """The 96x96 crop, float32, of a photo's grey values (H, W) uint8; the border is continued.

    Each pixel is the mean of as many samples as it covers photo pixels: large faces are shrunk by
    area averaging.
    """
    cv2 = import_cv2()
    fine = int(np.clip(np.ceil(np.sqrt(np.linalg.det(crop[:, :2]))), 1, 64))
    crop = np.array(crop)
    crop[:, 2] += crop[:, :2].sum(1) * (1 / fine - 1) / 2  # the first sample's place
    crop[:, :2] /= fine
    # Only the part round the crop: OpenCV warps no photo of more than 32,766 pixels along a side.
    corners = move_points(np.array([[(0, 0), (0, 1), (1, 0), (1, 1)]]) * SIZE * fine, crop[None])[0]
    limit = np.array(grey.shape[::-1]) - 1
    x0, y0 = np.clip(np.floor(corners.min(0)) - 2, 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)) + 2, 0, limit).astype(int)
    crop[:, 2] -= x0, y0
    samples = cv2.warpAffine(
        grey[y0 : y1 + 1, x0 : x1 + 1],
        crop,
        (SIZE * fine, SIZE * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return samples.reshape(SIZE, fine, SIZE, fine).mean((1, 3), dtype=np.float32)


def predict_crops(model, grey, crops, mirror=True, names=KEY_POINTS):
    """Predict the faces in `crops` (N, 2, 3) of a photo's grey values (H, W) uint8.

    Returns the points in photo pixels, (N, K, 2), and their spread in pixels of the crop, (N, K).
    """
    pictures = np.array([cut_crop(grey, crop) for crop in crops]).reshape(-1, SIZE, SIZE)
    found, spread = predict(model, pictures, mirror, names=names)
    return move_points(found, crops), spread


# What looks for faces: OpenCV's cascade, whether in the mirrored photo, in the photo turned by how
# many degrees, and where in the cascade's square the middle of the crop as trained is (x, in sides)
# and how large that is: medians over wild faces.
CASCADES = (
    ("frontalface_default", False, 0, 0.0, 1.0),
    ("frontalface_alt2", False, 0, 0.0, 1.0),
    ("frontalface_alt2", False, 30, 0.0, 1.0),
    ("frontalface_alt2", False, -30, 0.0, 1.0),
    ("profileface", False, 0, -0.17, 0.91),
    ("profileface", True, 0, -0.17, 0.91),
)
SEARCHED = 1600  # pixels along the longer side of the copy that is searched
NEIGHBOURS = 1  # further hits beside one that make a candidate: few, the model sorts them out
BORDER = 1.1  # the copy is searched with its border continued, for faces that it cuts
# A candidate is no face where the root mean square of its points' spread is above this, in pixels
# of the crop: 99 % of the held-out faces stay below 2.5, pictures without a face are at 36.
DOUBTFUL = 3.0


def find_candidates(grey, cascades=CASCADES):
    """Crops (N, 2, 3) where faces may be in a photo's grey values (H, W) uint8.

    Several cascades look, so that a face comes more than once and other things come too:
    `find_faces` sorts that out.
    """
    cv2 = import_cv2()
    # Large photos are searched on a smaller copy, and with some border: faces may be cut by it.
    zoom = min(1.0, SEARCHED / max(grey.shape))
    size = [max(1, round(side * zoom)) for side in grey.shape[::-1]]
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    crops = []
    for name, mirrored, degrees, aside, grow in cascades:
        # The view of the photo that is searched, and the way back from it.
        angle = np.radians(degrees)
        cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
        width, height = (int(BORDER * side) for side in np.dot([[cos, sin], [sin, cos]], size))
        back = _similarities(
            np.ones(1), angle[None], ((width - 1) / 2, (height - 1) / 2), (np.array(size) - 1) / 2
        )
        if mirrored:
            back = back @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        view = cv2.warpAffine(
            small,
            back[0],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        detector = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")
        found = detector.detectMultiScale(view, 1.1, NEIGHBOURS, minSize=(24, 24))
        x, y, w, h = np.reshape(found, (-1, 4)).T.astype(np.float64)
        middle = np.stack([x + (w - 1) / 2 + aside * w, y + (h - 1) / 2], -1)
        middle = (move_points(middle[None], back)[0] + 0.5) / zoom - 0.5
        scale = grow * w / zoom / SIZE
        crops.append(_similarities(scale, np.full(len(w), angle), (SIZE - 1) / 2, middle))
    return np.concatenate(crops)


def refine(model, grey, crops, mirror=True, names=KEY_POINTS, face=None):
    """Predict in `crops` (N, 2, 3), crop again round the points found, predict once more.

    The second crops are upright: measured on wild faces that gains next to nothing where heads are
    upright, and heads tilted by 25 degrees then come out as exactly as upright ones (mean error
    4.47 % of 40 px instead of 4.58). A third crop gains nothing.

    `names` are the model's key points, `face` as from `crop_face`. Returns as `predict_crops`.
    """
    once, _ = predict_crops(model, grey, crops, mirror, names)
    return predict_crops(model, grey, point_crops(once, face), mirror, names)


def find_faces(model, grey, mirror=True, names=KEY_POINTS, face=None):
    """Find the faces in a photo's grey values (H, W) uint8 and their key points, left to right.

    `names` are the model's key points, `face` as from `crop_face`. Returns as `predict_crops`.
    """
    candidates = find_candidates(grey)
    if not len(candidates):
        return np.empty((0, len(names), 2)), np.empty((0, len(names)))
    key_points, spread = refine(model, grey, candidates, mirror, names, face)
    doubt = face_spread(spread)
    x, y, side, _ = crop_boxes(point_crops(key_points, face)).T
    middle = np.stack([x + side / 2, y + side / 2], -1)
    kept = []
    for i in np.argsort(doubt):
        # Several candidates lead to the same face: the least doubtful one stays.
        apart = np.abs(middle[kept] - middle[i]).max(1) / (side[kept] + side[i])
        if doubt[i] < DOUBTFUL and (apart > 0.25).all():
            kept.append(i)
    kept = sorted(kept, key=lambda i: x[i])
    return key_points[kept], spread[kept]


def import_cv2():
    """OpenCV, which only photos need. Raises InputError where it, or its face detector, is not."""
    try:
        import cv2

        cv2.CascadeClassifier, cv2.data.haarcascades  # noqa: B018 - gone from the 5.0 wheel
    except (ImportError, AttributeError):
        raise InputError(
            "--image needs OpenCV 4 with its face detector; install it with:"
            " pip install 'opencv-python-headless>=4.10,<5'"
        ) from None
    return cv2


def annotate(photo, boxes, key_points, spread, names=KEY_POINTS):
    """Draw faces on a PIL photo: their boxes (N, 4), key points (N, K, 2) and 90 % regions.

    `spread` (N, K) is in pixels of the crop, as `predict_crops` gives it. Lines and dots grow with
    the face; colours, rings and hollow points are as in the other pictures. Gives another photo of
    the same size.
    """
    from PIL import Image, ImageColor

    cv2 = import_cv2()
    canvas = np.array(photo)
    fine = {"lineType": cv2.LINE_AA, "shift": 4}  # OpenCV draws at sixteenths of a pixel

    def fixed(values):
        return [round(16 * value) for value in np.ravel(values).tolist()]

    for number, (box, points, radii) in enumerate(zip(boxes, key_points, spread, strict=True), 1):
        x, y, w, h = box.tolist()
        width, white = max(1, round(w / 150)), (255, 255, 255)
        cv2.rectangle(canvas, fixed((x, y)), fixed((x + w - 1, y + h - 1)), white, width, **fine)
        text = canvas, str(number), (round(x), round(y - 2 * width)), cv2.FONT_HERSHEY_SIMPLEX
        for colour, thickness in (((0, 0, 0), 3 * width), (white, width)):
            cv2.putText(*text, max(0.3, w / 250), colour, thickness, cv2.LINE_AA)
        for name, point, unsure in zip(names, points, radii.tolist(), strict=True):
            radius, colour = max(w / 80, 0.7), ImageColor.getrgb(style_of(name)[0])
            region = REGION_90 * unsure * w / SIZE
            cv2.circle(canvas, fixed(point), *fixed(region), colour, max(1, width // 2), **fine)
            if unsure > UNSURE:
                cv2.circle(canvas, fixed(point), *fixed(radius), colour, width, **fine)
            else:
                cv2.circle(canvas, fixed(point), *fixed(1.5 * radius), (0, 0, 0), -1, **fine)
                cv2.circle(canvas, fixed(point), *fixed(radius), colour, -1, **fine)
    return Image.fromarray(canvas)


def output_paths(photos, results):
    """Where each photo's annotated picture goes: no two the same, none in a photo's own place."""
    taken = {str(photo.resolve()).lower() for photo in photos}
    paths = []
    for photo in photos:
        names = chain([photo.stem, photo.name], (f"{photo.name}_{i}" for i in count(2)))
        candidates = (results / f"{name}_key_points.png" for name in names)
        free = (path for path in candidates if str(path.resolve()).lower() not in taken)
        paths.append(next(free))
        taken.add(str(paths[-1].resolve()).lower())
    return paths


def box_in_photo(box, photo, path):
    """`box`, x y w h, if it makes sense in the PIL `photo` of that path; else InputError."""
    x, y, w, h = box
    width, height = photo.size
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height or max(w, h) > 3 * max(photo.size):
        raise InputError(
            f"--box {x:g} {y:g} {w:g} {h:g} lies outside the photo {path}, which has"
            f" {width}x{height} pixels, or is far larger."
        )
    return box


def run_photos(arguments):
    """Find the faces and key points in photos; write annotated pictures and key_points.csv.

    A photo that cannot be read is told, and the run goes on; at the end InputError is raised.
    """
    import pandas as pd

    import_cv2()
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give one photo only.")
    make_folder(arguments.results)
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    names = names_of(model, record)
    face = crop_face(record, names, model_path)
    rows, problems = [], []
    for path, target in zip(photos, output_paths(photos, arguments.results), strict=True):
        try:
            photo = read_photo(path)
            grey = np.array(photo.convert("L"))
            if arguments.box:
                crops = square_crops(box_in_photo(arguments.box, photo, path))
                key_points, spread = refine(model, grey, crops, arguments.mirror, names, face)
            else:
                key_points, spread = find_faces(model, grey, arguments.mirror, names, face)
        except InputError as problem:
            problems.append(problem)
            if len(photos) > 1:
                print(f"error: {problem}", file=sys.stderr)
            continue
        crops = point_crops(key_points, face)
        boxes = crop_boxes(crops)
        if not len(boxes):
            print(f"{path}: no face found; --box X Y W H says where one is.")
            continue
        replace_file(target, annotate(photo, boxes, key_points, spread, names).save)
        print(f"{path}: {len(boxes)} face(s), pictured in {target}", flush=True)
        photo_spread = spread * crop_scales(crops)[:, None]
        values = np.column_stack([boxes, key_points.reshape(len(boxes), -1), photo_spread])
        rows += [[path, i, *row] for i, row in enumerate(values.tolist(), 1)]
    if problems and len(photos) == 1:
        raise problems[0]
    columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
    table = pd.DataFrame(rows, columns=columns)
    csv_path = arguments.results / "key_points.csv"
    if len(problems) < len(photos):
        replace_file(csv_path, lambda file: table.to_csv(file, index=False, float_format="%.3f"))
        print(f"{len(rows)} face(s) in all; key points are in {csv_path}")
    if problems:
        raise InputError(
            f"{len(problems)} of {len(photos)} photos could not be read, as said above;"
            " mend them or leave them out."
        )


# --- Kaggle's answers ----------------------------------------------------------------------------


def read_lookup_table(path):
    """Kaggle's IdLookupTable.csv: which coordinates of which test faces are asked for.

    Returns a pandas data frame of text, `RowId`, `ImageId` and `FeatureName`, a row per answer.
    Raises InputError if it is not such a table; says which row.
    """
    import pandas as pd

    table = pd.concat(read_table(path))
    names = ["RowId", "ImageId", "FeatureName"]
    for name in names:
        if name not in table.columns:
            raise InputError(f"{path} has no column named {name}; give Kaggle's IdLookupTable.csv.")
    problems = {
        "has an empty field": table[names].isna().any(axis=1),
        "repeats a RowId": table["RowId"].duplicated(),
        "names no coordinate of a key point": ~table["FeatureName"].isin(COLUMNS),
    }
    for problem, rows in problems.items():
        if rows.any():
            raise InputError(
                f"{path}: row {table.index[rows][0] + 1} below the header {problem}; download the"
                " table again."
            )
    return table[names]


def answer(table, image_ids, key_points, few_points_offset):
    """The coordinates that a table asks for.

    Args:
        table: as from `read_lookup_table`.
        image_ids: the test faces' ImageIds as text, (N,).
        key_points: float (N, 15, 2) pixels. Faces of which four points at most are asked come
            from the source of labels that marks no more, and marks some of them elsewhere:
        few_points_offset: by how much, 15 pairs of pixels, or None.

    Returns:
        (rows of the table,) pixels, clipped to 0 .. 96. Raises InputError if a face is missing.
    """
    face = {image_id: i for i, image_id in enumerate(image_ids)}
    index = table["ImageId"].map(face)
    if index.isna().any():
        missing = table["ImageId"][index.isna()].iloc[0]
        raise InputError(
            f"the test faces have none of ImageId {missing:.40}, which the table asks for; name the"
            " test CSV that the table belongs to by --data."
        )
    if few_points_offset:
        asked = table.groupby("ImageId")["FeatureName"].transform("count")
        few = index[asked <= 2 * FEW_POINTS].unique().astype(int)
        key_points = key_points.copy()
        key_points[few] += few_points_offset
    column = table["FeatureName"].map(COLUMNS.index)
    return key_points.reshape(-1, len(COLUMNS))[index.astype(int), column].clip(0, SIZE)


def run_submission(arguments):
    """Write submission.csv: what Kaggle's table asks about the test faces."""
    test_path = arguments.data or find_data("test")
    if not test_path:
        raise InputError("--submission needs Kaggle's test faces: name their CSV by --data.")
    table = read_lookup_table(arguments.submission)
    make_folder(arguments.results)
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    if names_of(model, record) != KEY_POINTS:
        raise InputError(
            f"{model_path} finds other key points than Kaggle's 15, which --submission is about;"
            " name a model of those by --model."
        )
    image_ids, key_points = [], []
    for faces in read_faces(test_path):
        image_ids += map(str, faces.image_ids)
        key_points.append(predict(model, faces.pictures, arguments.mirror)[0])
    offset = record.get("few_points_offset")
    if not offset:
        print("The model was trained without rows of few points: no offset for such faces.")
    locations = answer(table, image_ids, np.concatenate(key_points), offset)
    path = arguments.results / "submission.csv"
    answers = table[["RowId"]].assign(Location=locations)
    replace_file(path, lambda file: answers.to_csv(file, index=False, float_format="%.4f"))
    print(f"{len(answers)} answers about {len(image_ids)} test faces are in {path}")


# --- exports -------------------------------------------------------------------------------------

PARITY = 0.01  # pixels by which an exported float32 model may differ from Keras
TIMED = 50  # faces, one at a time: enough for a median
# The packages that make and run each format: what to import, what to install.
EXTRAS = {
    "litert": {"ai_edge_litert.interpreter": "ai-edge-litert>=2.1,<3"},
    "onnx": {"onnxruntime": "onnxruntime>=1.20,<2", "tf2onnx": "tf2onnx>=1.17,<2"},
}


def import_extras(kind):
    """Import what an export needs. Raises InputError that says how to install what is missing."""
    try:
        for name in EXTRAS[kind]:
            importlib.import_module(name)
    except (ImportError, AttributeError) as error:  # the latter: too old for this NumPy
        packages = " ".join(f"'{package}'" for package in EXTRAS[kind].values())
        raise InputError(
            f"--export {kind} needs packages that cannot be imported ({error}); install them with:"
            f" pip install {packages}"
        ) from None


def to_litert(model, small=False):
    """A Keras model as the bytes of a .tflite file.

    With `small` the weights are 8-bit integers, scaled per channel; the arithmetic between the
    layers stays float32 ("dynamic range").
    """
    import keras
    import tensorflow as tf

    picture = keras.InputSpec("float32", (None, *model.input_shape[1:]), name="picture")
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, "tf_saved_model", verbose=False, input_signature=[picture])
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if small else []
        return converter.convert()


def to_onnx(model):
    """A Keras model as the bytes of an .onnx file.

    (Keras's own ONNX export turns the network's constants into further inputs, as of Keras 3.15:
    here they are frozen first, together with the weights.)
    """
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.get_logger().setLevel("ERROR")  # tf2onnx calls what is deprecated
    picture = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="picture")
    function = tf.function(lambda picture: model(picture, training=False))
    function = function.get_concrete_function(picture)
    frozen = convert_variables_to_constants_v2(function)
    inputs, outputs = ([tensor.name for tensor in side] for side in (frozen.inputs, frozen.outputs))
    names = dict(zip(outputs, sorted(function.structured_outputs), strict=True))
    made, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=inputs,
        output_names=outputs,
        tensors_to_rename={inputs[0]: "picture"} | names,
    )
    return made.SerializeToString()


def open_litert(path):
    """A function from float32 pictures (N, 96, 96, 1) to the dict of outputs, run by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    return lambda pictures: runner(picture=pictures)


def open_onnx(path):
    """As `open_litert`, run by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda pictures: dict(zip(names, session.run(names, {"picture": pictures}), strict=True))


def compare(model, exported, pictures):
    """An exported model beside Keras, on uint8 pictures (N, 96, 96).

    Both predict all faces at once, and some one at a time in turn, for the time.

    Returns:
        The largest difference of any output and the root mean square one of the key points, in
        pixels, and the medians of milliseconds per face, Keras's and the exported model's.
    """
    pictures = pictures[..., None].astype(np.float32)
    expected, found = model.predict_on_batch(pictures), exported(pictures)
    alone, seconds = [], []
    for picture in pictures[:TIMED, None]:
        start = time.perf_counter()
        model.predict_on_batch(picture)
        middle = time.perf_counter()
        alone.append(exported(picture))
        seconds.append((middle - start, time.perf_counter() - middle))
    alone = {name: np.concatenate([output[name] for output in alone]) for name in expected}
    differences = [
        output[name] - expected[name][: len(output[name])]
        for output in (found, alone)
        for name in expected
    ]
    largest = np.max([np.abs(difference).max() for difference in differences])
    rms = np.sqrt(((found["key_points"] - expected["key_points"]) ** 2).mean())
    return largest, rms, *(1000 * np.median(seconds, axis=0))


def run_export(arguments):
    """Write the model for LiteRT or ONNX Runtime, and measure it beside Keras."""
    kind = arguments.export
    import_extras(kind)
    make_folder(arguments.results)
    test_path = arguments.data or find_data("test")
    if test_path:
        faces = next(read_faces(test_path))
    else:
        faces = synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED)
    model_path = arguments.model or find_model()
    model, _ = load_model(model_path)
    files = [(f"{model_path.stem}.onnx", to_onnx, open_onnx, PARITY)]
    if kind == "litert":
        files = [
            (f"{model_path.stem}.tflite", to_litert, open_litert, PARITY),
            (f"{model_path.stem}_small.tflite", partial(to_litert, small=True), open_litert, None),
        ]
    for name, convert, open_file, allowed in files:
        path = arguments.results / name

        def write(temporary, path=path, convert=convert, open_file=open_file, allowed=allowed):
            try:
                temporary.write_bytes(convert(model))
                largest, rms, keras_ms, ms = compare(model, open_file(temporary), faces.pictures)
            except OSError:
                raise
            except Exception as error:  # the converters raise whatever their parts raise
                raise InputError(
                    f"{path} cannot be made ({one_line(error)[:200]}); try other"
                    " versions of the packages that --export needs."
                ) from None
            size = temporary.stat().st_size
            if allowed and not largest <= allowed:  # so that NaN is refused as well
                raise InputError(
                    f"{path} would differ from Keras by {largest:.3g} px on {len(faces.rows)} faces"
                    f" of {faces.path}, {allowed} being allowed, and was not written; try other"
                    " versions of the packages that --export needs."
                )
            print(
                f"{path}: {size / 1e6:.2f} MB; beside Keras on {len(faces.rows)} faces, key points"
                f" {rms:.2g} px off (RMS), no value more than {largest:.2g} px; {ms:.1f} ms a face,"
                f" one at a time, Keras {keras_ms:.1f} ms",
                flush=True,
            )

        replace_file(path, write)


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Picture what a trained model finds on the test faces, and its worst errors."
    )
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        help="the trained model (default: models/my_model.keras, else models/pretrained.keras)",
    )
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="test CSV in Kaggle's format, plain, .gz or .zip (default: data/test.csv, .csv.gz or"
        " .zip, else made-up faces)",
    )
    add(
        "--training",
        type=Path,
        metavar="PATH",
        help="the CSV that the model was trained on, to find the held-out faces in (default: the"
        " one that the model's JSON names, else data/training.csv, .csv.gz or .zip)",
    )
    add(
        "--results",
        type=Path,
        default=HERE / "results",
        help="folder to write to (default: results)",
    )
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average the predictions of each picture and its mirror image (default: on)",
    )
    add(
        "--image",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="photos, or folders of them, to find the faces and their key points in; writes"
        " <name>_key_points.png and key_points.csv (needs opencv-python-headless 4)",
    )
    add(
        "--box",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="where the face is in the one photo of --image, in its pixels, from the forehead to"
        " the chin: no face is searched for",
    )
    add(
        "--submission",
        type=Path,
        metavar="TABLE",
        help="Kaggle's IdLookupTable.csv: writes submission.csv, the test faces' coordinates that"
        " it asks for",
    )
    add(
        "--export",
        choices=list(EXTRAS),
        help="write the model for phones (litert: <model>.tflite and, a quarter as large,"
        " <model>_small.tflite) or servers (onnx: <model>.onnx), and compare it with Keras on test"
        " faces (the packages that this needs are extras: README.md)",
    )
    arguments = parser.parse_args(argv)
    if sum(map(bool, (arguments.image, arguments.submission, arguments.export))) > 1:
        parser.error("--image, --submission and --export do different things; give one of them")
    if arguments.box:
        if not arguments.image:
            parser.error("--box needs --image")
        if not (np.isfinite(arguments.box).all() and min(arguments.box[2:]) > 0):
            parser.error("--box: X Y W H must be numbers, W and H above zero")
    return arguments


def run(arguments):
    """Predict, measure, picture: what the command line asks for."""
    if arguments.image:
        return run_photos(arguments)
    if arguments.submission:
        return run_submission(arguments)
    if arguments.export:
        return run_export(arguments)
    model_path = arguments.model or find_model()
    results = arguments.results
    make_folder(results)
    test_path = arguments.data or find_data("test")
    if test_path:
        parts = read_faces(test_path)
    else:
        print(f"{HERE / 'data' / 'test.csv'} is not there: picturing made-up faces.")
        parts = [synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED)]
    model, record = load_model(model_path)
    names = names_of(model, record)
    held_out = held_out_faces(record, model_path, arguments.training, names)

    # First what may turn out to be unreadable: an error leaves the earlier results whole.
    path = results / "test_key_points.csv"
    count, first, last = predict_file(model, parts, path, arguments.mirror, names)
    for name, shown in (("test_result01.png", first), ("test_result02.png", last)):
        *faces, image_ids = zip(*shown, strict=True)
        plot_faces(results / name, *faces, [f"ImageId {i}" for i in image_ids], names)

    if held_out is None:
        print(
            "The shipped model's training faces are not here: picturing made-up ones. They mark"
            " lips and brows a little elsewhere, which counts as error."
        )
        held_out = synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED + 1)
    predicted, spread = predict(model, held_out.pictures, arguments.mirror, names=names)
    if record.get("few_points_offset"):  # such rows mark some points elsewhere
        predicted[held_out.source < 0] += record["few_points_offset"]
    truth = held_out.key_points
    plot_worst(results / "worst16_in_validation.png", held_out, predicted, spread)
    plot_errors(results / "error_by_key_point.png", predicted, truth, names)
    plot_calibration(results / "calibration.png", predicted, spread, truth)
    figures = measure(predicted, truth, names)
    for data in record["data"]:  # of Kaggle's file: three hands, one after the other
        if data.get("first_rows") and data["validation_rows"] == held_out.rows.tolist():
            figures["per_part"] = rmse_per_part(predicted, truth, held_out.rows, data["first_rows"])
    figures["spread"] = measure_spread(predicted, spread, truth)
    report = {"model": str(model_path), "mirror": arguments.mirror, **figures}
    text = json.dumps(report, indent=2) + "\n"
    replace_file(results / "validation.json", lambda file: file.write_text(text))

    print(f"{count} test faces; pictures, key points and figures are in {results}")
    if figures["nme"] is not None:
        print(
            f"NME {100 * figures['nme']:.2f} % of the {figures['normalised_by']},"
            f" {100 * figures['failure_rate']:.1f} % of the faces above {100 * FAILURE:.0f} %"
        )
    print(f"validation RMSE {figures['rmse_px']:.3f} px on {figures['faces']} faces")


if __name__ == "__main__":
    sys.exit(main(parse=parse_arguments, work=run))
