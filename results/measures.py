"""The errors of predictions, and how well the spread predicts them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from data.key_points import KEY_POINTS, Names, eye_centres, interocular_distance, rmse
from models.spread import region_radius

UNSURE = 3.0  # pixels: a point with a larger spread is drawn hollow; see models/README.md

FAILURE = 0.10  # a face whose mean error is above this share of the inter-ocular distance failed

REGIONS = (0.5, 0.8, 0.9, 0.95)  # shares of the true points, whose regions are checked


def point_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance between prediction and truth, (N, K) pixels, NaN where there is no truth."""
    return np.linalg.norm(predicted - truth, axis=-1)


def face_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """RMSE of each face over its labelled coordinates, (N,) pixels."""
    return np.sqrt(np.nanmean((predicted - truth) ** 2, axis=(1, 2)))


def normalised_by(names: Names = KEY_POINTS) -> str:
    """What errors are a share of: the inter-ocular distance, where there are eye centers."""
    return "inter-ocular distance" if eye_centres(names) else "bounding box diagonal"


def normalised_errors(
    predicted: np.ndarray, truth: np.ndarray, names: Names = KEY_POINTS
) -> np.ndarray:
    """NME of each face: mean distance as a share of what `normalised_by` says, (N,).

    NaN without both eyes' centers or, where the names have none, without all points.
    """
    eyes = eye_centres(names)
    if eyes:
        size = interocular_distance(truth, eyes)
    else:
        size = np.linalg.norm(truth.max(1) - truth.min(1), axis=-1)
    return np.nanmean(point_errors(predicted, truth), 1) / np.where(size > 0, size, np.nan)


def only_labelled(
    predicted: np.ndarray, truth: np.ndarray, names: Names
) -> tuple[np.ndarray, np.ndarray, Names]:
    """Predictions and truth (N, K, 2) and names (K,) without points that no face has in both."""
    both = np.flatnonzero(np.isfinite(predicted + truth).any((0, 2)))
    return predicted[:, both], truth[:, both], tuple(names[k] for k in both)


def measure(predicted: np.ndarray, truth: np.ndarray, names: Names = KEY_POINTS) -> dict[str, Any]:
    """What goes into validation.json: errors in pixels and as a share of the face's size.

    Args:
        predicted, truth: (N, K, 2) pixels; NaN truth is masked everywhere, as are predicted points
            that are NaN because the training had no labels of them.
        names: of the K key points.
    """
    errors = point_errors(predicted, truth)
    labelled = only_labelled(predicted, truth, names)
    nme = normalised_errors(*labelled)
    measurable = nme[np.isfinite(nme)]

    def share_or_none(values: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> float | None:
        return float(statistic(values)) if values.size else None

    per_key_point = {}
    for k, name in enumerate(names):
        here = np.isfinite(errors[:, k])
        found = errors[here, k]
        per_key_point[name] = {
            "faces": int(here.sum()),
            "rmse_px": rmse(predicted[here, k], truth[here, k]) if found.size else None,
            "mean_distance_px": share_or_none(found, np.mean),
            "median_distance_px": share_or_none(found, np.median),
        }
    return {
        "faces": len(truth),
        "rmse_px": rmse(predicted, truth),
        "mean_distance_px": float(np.nanmean(errors)),
        "nme": share_or_none(measurable, np.mean),
        "normalised_by": normalised_by(labelled[2]),
        "failure_rate": share_or_none(measurable > FAILURE, np.mean),
        "failure_above_nme": FAILURE,
        "per_key_point": per_key_point,
    }


def rmse_per_part(
    predicted: np.ndarray, truth: np.ndarray, rows: np.ndarray, first_rows: list[int]
) -> list[dict[str, Any]]:
    """RMSE in pixels by the part of the file that a face's row is in: by its annotator.

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


def coverage(predicted: np.ndarray, spread: np.ndarray, truth: np.ndarray, share: float) -> float:
    """Share of the true points that lie within their `share` regions, 0 .. 1."""
    errors = point_errors(predicted, truth)
    within = errors <= region_radius(share) * spread
    return float(within[np.isfinite(errors)].mean())


def sparsification(errors: np.ndarray, spread: np.ndarray, shares: Iterable[float]) -> list[float]:
    """RMSE of the remaining points when the least certain ones are left out, for each share.

    Args:
        errors, spread: (M,) of each point; errors are distances, the RMSE is per coordinate.
        shares: of the points left out, each 0 .. below 1.
    """
    squares = errors[np.argsort(spread)] ** 2 / 2
    remain = [max(round((1 - share) * len(squares)), 1) for share in shares]
    return [float(np.sqrt(squares[:count].mean())) for count in remain]


def measure_spread(predicted: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """What goes into validation.json about the spread: how well it predicts the errors.

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
