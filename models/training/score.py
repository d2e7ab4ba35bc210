"""The held-out error of a trained model, file by file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from data.faces import Faces
from data.key_points import rmse
from models.network import predict

if TYPE_CHECKING:
    import keras


def score_files(
    model: keras.Model,
    held_out: Faces,
    files: list[Faces],
    few_points_offset: list[list[float]] | None,
    mirrored: bool = True,
) -> list[dict[str, Any]]:
    """Held-out RMSE in pixels per file; the model follows the first file's labelling convention.

    Args:
        model: as from `train`.
        held_out: the held-out faces of all files.
        files: the files, in order.
        few_points_offset: of the first file's rows of few points (K pairs of pixels, or None);
            they are scored with it.
        mirrored: whether faces can be mirrored, for flip averaging.

    Returns a list of dicts, one per file: path, faces, rmse_px, rmse_mirrored_px.
    """
    scores = []
    for i, file in enumerate(files):
        labelled = np.isfinite(held_out.key_points).any((1, 2))
        part = held_out.take((held_out.file == i) & labelled)
        score = {"path": str(file.path), "faces": len(part.rows)}
        if score["faces"]:
            for name, mirror in (("rmse_px", False), ("rmse_mirrored_px", mirrored)):
                found, _ = predict(model, part.pictures, mirror, names=part.names)
                if few_points_offset:
                    found[part.source < 0] += few_points_offset
                score[name] = rmse(found, part.key_points)
        scores.append(score)
    return scores
