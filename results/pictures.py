"""Every figure."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.faces import Faces
from data.images.photos import OWN_OUTPUT
from data.key_points import KEY_POINTS, SIZE, Names
from data.system.files import replace_file
from models.spread import REGION_90, face_spread
from results.colours import style_of
from results.measures import (
    FAILURE,
    REGIONS,
    UNSURE,
    coverage,
    face_errors,
    normalised_by,
    normalised_errors,
    only_labelled,
    point_errors,
    sparsification,
)

PER_PICTURE = 16  # faces in each picture, 4 by 4


def new_figure(width: float, height: float) -> Any:
    """A Matplotlib figure for a file: it needs no screen and does not touch pyplot's state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path | str) -> None:
    """Write the figure as a PNG that says which program made it."""
    replace_file(path, lambda file: figure.savefig(file, dpi=110, metadata=OWN_OUTPUT))


def face_grid(pictures: Iterable[np.ndarray], titles: Sequence[str]) -> tuple[Any, Any]:
    """A figure of up to 16 faces, and its axes."""
    figure = new_figure(10, 10.8)
    axes = figure.subplots(4, 4)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        # Without ticks: hidden ones take as much time as all the rest.
        axis.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5), xticks=[], yticks=[])
        axis.set_title(title, fontsize=9, parse_math=False)  # an ImageId may hold a $
    return figure, axes.flat


def draw_regions(axis: Any, points: np.ndarray, spread: np.ndarray, colours: Any) -> None:
    """Rings around points (K, 2) that contain nine of ten true ones."""
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


def plot_faces(
    path: Path | str,
    pictures: Iterable[np.ndarray],
    key_points: Iterable[np.ndarray],
    spread: Iterable[np.ndarray],
    titles: Sequence[str],
    names: Names = KEY_POINTS,
) -> None:
    """Draw up to 16 faces (N, 96, 96) with key points (N, K, 2) and their spread (N, K)."""
    figure, axes = face_grid(pictures, titles)
    key_points, spread = np.array(list(key_points)), np.array(list(spread))
    found = np.isfinite(spread).all(0)  # not those that were never labelled
    key_points, spread = key_points[:, found], spread[:, found]
    styles = [style_of(name) for name, here in zip(names, found, strict=True) if here]
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
        title="left and right are the subject's; ring: 90 % region; hollow: unsure",
        title_fontsize=8,
    )
    save_figure(figure, path)


def plot_worst(path: Path | str, faces: Faces, predicted: np.ndarray, spread: np.ndarray) -> None:
    """Draw the 16 faces with the largest RMSE: truth, prediction and lines between them.

    A line is red where the true point lies outside the 90 % region: the network was too sure.
    """
    found = np.isfinite(spread).all(0)  # not those that were never labelled
    predicted, spread, labels = predicted[:, found], spread[:, found], faces.key_points[:, found]
    errors = face_errors(predicted, labels)
    worst = np.argsort(-errors)[:PER_PICTURE]
    expected = face_spread(spread)
    titles = [f"row {faces.rows[i]}: {errors[i]:.2f} px, expected {expected[i]:.2f}" for i in worst]
    figure, axes = face_grid(faces.pictures[worst], titles)
    sure = {"color": "#D55E00", "mec": "black", "mew": 0.5}
    unsure = {"mec": "#D55E00", "mfc": "none", "mew": 1}
    for axis, i in zip(axes, worst, strict=False):
        truth = labels[i]
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
        *axis.plot([], [], "-", color="red", lw=1, label="outside the 90 % region: too sure"),
    ]
    figure.suptitle(f"The worst {len(worst)} of {len(errors)} held-out faces (RMSE of each)")
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    save_figure(figure, path)


def plot_errors(
    path: Path | str, predicted: np.ndarray, truth: np.ndarray, names: Names = KEY_POINTS
) -> None:
    """Plot the error of each key point, and the share of faces below an error."""
    predicted, truth, names = only_labelled(predicted, truth, names)
    errors = point_errors(predicted, truth)
    height = max(5.5, 0.2 * len(names))
    figure = new_figure(15, height)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
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
    left.set_yticks(
        range(1, len(names) + 1), [name.replace("_", " ") for name in names], parse_math=False
    )
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
    save_figure(figure, path)


def plot_calibration(
    path: Path | str, predicted: np.ndarray, spread: np.ndarray, truth: np.ndarray
) -> None:
    """Plot how well the spread is calibrated: against the true error, as coverage, as a ranking.

    Args:
        predicted, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.
    """
    errors = point_errors(predicted, truth)
    labelled = np.isfinite(errors)
    errors, doubt = errors[labelled], spread[labelled]
    figure = new_figure(15, 5)
    left, middle, right = figure.subplots(1, 3)

    bins = [part for part in np.array_split(np.argsort(doubt), 10) if part.size]
    expected = [np.sqrt((doubt[part] ** 2).mean()) for part in bins]
    measured = [np.sqrt((errors[part] ** 2).mean() / 2) for part in bins]
    limits = [0.8 * min(expected + measured), 1.25 * max(expected + measured)]
    left.plot(limits, limits, "--", color="grey", label="ideal")
    left.plot(expected, measured, "o-", color="#0072B2", label="one tenth of the points")
    left.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    for side in (left.xaxis, left.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_formatter("{x:g}")
    left.tick_params(which="minor", labelsize=7)
    left.set(title="Expected and measured error", xlabel="spread, px", ylabel="RMSE, px")
    left.legend(loc="upper left")

    shares = np.array(REGIONS)
    covered = [coverage(predicted, spread, truth, share) for share in shares]
    positions = np.arange(len(shares))
    bars = middle.bar(positions, 100 * np.array(covered), color="#56B4E9", label="measured")
    middle.bar_label(bars, fmt="%.1f")
    middle.hlines(100 * shares, positions - 0.2, positions + 0.2, color="black", label="ideal")
    middle.set_xticks(positions, [f"{share:.0%} region" for share in shares])
    middle.set(title="True points inside their regions", ylabel="%", ylim=(0, 105))
    middle.legend(loc="lower right")

    left_out = np.arange(0, 0.96, 0.05)
    for name, order, style in (
        ("by the spread", doubt, "-"),
        ("by the true error (best possible)", errors, ":"),
    ):
        right.plot(100 * left_out, sparsification(errors, order, left_out), style, label=name)
    right.axhline(np.sqrt((errors**2).mean() / 2), color="grey", ls="--", label="at random")
    right.set(title="RMSE of what is left", xlabel="least certain points left out, %")
    right.set(ylabel="RMSE, px", ylim=(0, None))
    right.legend()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def plot_training(path: Path | str, history: list[dict[str, Any]]) -> None:
    """Plot the loss and the held-out RMSE in pixels over the epochs."""
    epochs = [line["epoch"] for line in history]
    figure = new_figure(11, 4)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [line["loss"] for line in history], color="tab:blue")
    left.set(title="Training loss (augmented faces)", xlabel="epoch", ylabel="Huber loss, px²")
    right.plot(epochs, [line["validation_rmse_px"] for line in history], color="tab:red")
    final = history[-1]["validation_rmse_px"]
    right.set(title=f"Held-out RMSE: {final:.3f} px at the end", xlabel="epoch", ylabel="RMSE, px")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3, which="both")
    save_figure(figure, path)
