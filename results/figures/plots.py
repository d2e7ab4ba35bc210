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
from results.figures.colours import styles_of
from results.figures.fonts import fonts_for, missing_glyphs_were_said
from results.figures.profiles import hidden_points
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
    with missing_glyphs_were_said():
        replace_file(path, lambda file: figure.savefig(file, dpi=110, metadata=OWN_OUTPUT))


def face_grid(pictures: Iterable[np.ndarray], titles: Sequence[str]) -> tuple[Any, Any]:
    """A figure of up to 16 faces, and its axes."""
    figure = new_figure(10, 10.8)
    axes = figure.subplots(4, 4)
    fonts = fonts_for(titles)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        # Without ticks: hidden ones take as much time as all the rest.
        axis.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5), xticks=[], yticks=[])
        # An ImageId may contain a $, which starts a formula.
        axis.set_title(title, fontsize=9, fontfamily=fonts, parse_math=False)
    return figure, axes.flat


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks for a logarithmic axis (`Axes.xaxis` or `yaxis`) from `low` to `high`, few enough for
    their labels not to overlap."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    low = max(low, 1e-6 * high)  # where all errors are zero
    if not low > 0:
        return
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = np.outer(decades, steps).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= 3:
            break
    else:
        ticks = np.array(MaxNLocator(4).tick_values(low, high))
    axis.set_major_locator(FixedLocator(sorted(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


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
    styles = [style for style, here in zip(styles_of(names), found, strict=True) if here]
    shown = tuple(name for name, here in zip(names, found, strict=True) if here)
    doubtful, hidden = hidden_points(key_points, shown)
    hollow = (spread > UNSURE) | doubtful
    sure = {"ms": 5, "mec": "black", "mew": 0.5}
    for i, axis in enumerate(list(axes)[: len(key_points)]):
        seen = np.flatnonzero(~hidden[i])
        colours = [styles[k][0] for k in seen]
        draw_regions(axis, key_points[i, seen], spread[i, seen], colours)
        for k in seen:
            colour, marker, _ = styles[k]
            unsure = {"ms": 5, "mec": colour, "mew": 1, "mfc": "none"}
            axis.plot(*key_points[i, k], marker, color=colour, **(unsure if hollow[i, k] else sure))
    handles = [
        line
        for colour, marker, label in dict.fromkeys(styles)
        for line in figure.axes[0].plot([], [], marker, color=colour, label=label, **sure)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 8),
        prop={"family": fonts_for([label for *_, label in styles]), "size": 8},
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
    too_sure = point_errors(predicted, labels) > REGION_90 * spread
    plot_against_labels(
        path,
        (faces.pictures[worst], labels[worst], predicted[worst], spread[worst], too_sure[worst]),
        titles,
        f"The worst {len(worst)} of {len(errors)} held-out faces (RMSE of each)",
        ("truth", "outside the 90 % region: too sure"),
    )


def plot_against_labels(
    path: Path | str,
    shown: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    titles: Sequence[str],
    heading: str,
    meanings: tuple[str, str],
) -> None:
    """Draw up to 16 faces with their labels, predictions and lines between them.

    Args:
        path: of the picture.
        shown: pictures (N, 96, 96), labels and predictions (N, K, 2), spread (N, K), and which
            lines are red, bool (N, K).
        titles, heading: of the faces, and of the whole.
        meanings: what the legend calls a label and a red line.
    """
    figure, axes = face_grid(shown[0], titles)
    sure = {"color": "#D55E00", "mec": "black", "mew": 0.5}
    unsure = {"mec": "#D55E00", "mfc": "none", "mew": 1}
    for axis, labels, predicted, spread, red in zip(axes, *shown[1:], strict=False):
        draw_regions(axis, predicted, spread, "#D55E00")
        for (x0, y0), (x1, y1), radius, is_red in zip(labels, predicted, spread, red, strict=True):
            axis.plot([x0, x1], [y0, y1], "-", color="red" if is_red else "white", lw=1)
            axis.plot(x1, y1, "X", ms=5, **(unsure if radius > UNSURE else sure))
        axis.plot(*labels.T, "o", color="#009E73", ms=4, mec="black", mew=0.5)
        axis.plot(*labels[red].T, "o", ms=8, mec="red", mfc="none", mew=1)  # short lines are hidden
    axis = figure.axes[0]
    handles = [
        *axis.plot([], [], "o", color="#009E73", ms=4, mec="black", mew=0.5, label=meanings[0]),
        *axis.plot([], [], "X", ms=5, **sure, label="model"),
        *axis.plot([], [], "X", ms=5, **unsure, label=f"model, unsure (spread above {UNSURE} px)"),
        *axis.plot([], [], "-o", color="red", lw=1, ms=8, mfc="none", label=meanings[1]),
    ]
    figure.suptitle(heading)
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    save_figure(figure, path)


def plot_errors(
    path: Path | str, predicted: np.ndarray, truth: np.ndarray, names: Names = KEY_POINTS
) -> None:
    """Plot the error of each key point, and the share of faces below an error."""
    colours = {name: colour for name, (colour, *_) in zip(names, styles_of(names), strict=True)}
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
        box.set_facecolor(colours[name])
    labels = [name.replace("_", " ") for name in names]
    fonts = fonts_for(labels)
    left.set_yticks(range(1, len(names) + 1), labels, fontfamily=fonts, parse_math=False)
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
    if right.get_xlim()[1] > 100 * FAILURE:
        line = right.axvline(100 * FAILURE, color="#D55E00", ls="--", label="to the right: failed")
        figure.legend(handles=[line], loc="outside lower right")
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
        log_ticks(side, *limits)
    left.set(title="Expected and measured error", xlabel="spread, px", ylabel="RMSE, px")
    left.legend(loc="upper left")

    shares = np.array(REGIONS)
    covered = [coverage(predicted, spread, truth, share) for share in shares]
    positions = np.arange(len(shares))
    middle.bar(positions, 100 * np.array(covered), color="#56B4E9", label="measured")
    for x, share in zip(positions, covered, strict=True):
        middle.text(x, 3, f"{100 * share:.1f}", ha="center")  # below the lines
    middle.hlines(100 * shares, positions - 0.2, positions + 0.2, color="black", label="ideal")
    middle.set_xticks(positions, [f"{share:.0%} region" for share in shares])
    middle.set(title="True points inside their regions", ylabel="%", ylim=(0, 115))
    middle.legend(loc="upper center", ncols=2)

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
    from matplotlib.ticker import MaxNLocator

    epochs = [line["epoch"] for line in history]
    dots = "o" if len(epochs) < 3 else None  # one epoch is no line
    figure = new_figure(11, 4)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [line["loss"] for line in history], color="tab:blue", marker=dots)
    left.set(title="Training loss (augmented faces)", xlabel="epoch", ylabel="Huber loss, px²")
    errors = [line["validation_rmse_px"] for line in history]
    right.plot(epochs, errors, color="tab:red", marker=dots)
    right.set(title=f"Held-out RMSE: {errors[-1]:.3f} px at the end", xlabel="epoch")
    right.set_ylabel("RMSE, px")
    for axes in (left, right):
        axes.set_yscale("log")
        log_ticks(axes.yaxis, *axes.get_ylim())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    save_figure(figure, path)
