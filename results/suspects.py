"""`model_builder.py --suspects`: labels that may be wrong, as a table, pictures, LabelMe files.

`model_builder.py --corrections FOLDER` trains with what was corrected there.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from data.faces import Faces
from data.formats.labelme import labelme_document, shape
from data.formats.labels import NOT_LABELLED, VISIBLE, LabelledFace
from data.key_points import SIZE
from data.labels.corrections import PICTURE, ROW, picture_digest
from data.system.files import make_empty_folder, printable, replace_file, write_text
from data.system.progress import follow
from data.tables import write_rows
from models.training.suspects import Judged, explain
from results.figures.plots import PER_PICTURE, plot_against_labels

HEADER = (
    *("file", "row", "key_point", "x", "y", "predicted_x", "predicted_y"),
    *("error_px", "error_spreads", "reason", PICTURE),
)


class SuspectFiles:
    """The folders in which the suspects are written: `suspects` and `suspects_pages`."""

    def __init__(self, results: Path) -> None:
        """Raises InputError if there are files, which may be corrections, or it cannot be made."""
        self.folder, self.pages = results / "suspects", results / "suspects_pages"
        for folder in (self.folder, self.pages):
            make_empty_folder(folder)

    def write(self, faces: Faces, paths: list[Path], judged: Judged) -> None:
        """Write the suspects, worst first, and say where they are.

        Args:
            faces: of all files.
            paths: of the files.
            judged: the same faces.
        """
        table = self.folder / "suspects.csv"
        write_table(table, faces, paths, judged)
        worst = np.where(judged.suspect, judged.in_spreads, -1).max(1)
        rows = [int(i) for i in np.argsort(-worst, kind="stable") if worst[i] > 0]
        count = int(np.isfinite(judged.errors).sum())
        print(f"{judged.suspect.sum()} of {count:,} labels are suspects, in {len(rows)} rows.")
        if not rows:
            return
        names = name_rows(faces, rows)
        for name, i in zip(names, follow(rows, "writing labels"), strict=True):
            write_labelme(self.folder / f"{name}.json", faces, judged, i)
        write_pages(self.pages, faces, judged, rows, names)
        print(
            f"{table} lists them, worst first; {self.pages} pictures them, {PER_PICTURE} a page. To"
            f" correct them: labelme {self.folder}"
        )


def name_rows(faces: Faces, rows: list[int]) -> list[str]:
    """A file name for each of the `rows` of faces, by which they sort in this order."""
    digits = len(str(len(rows)))
    several = bool(np.ptp(faces.file))
    names = []
    for number, i in enumerate(rows, 1):
        file = f"file{faces.file[i] + 1}_" if several else ""
        names.append(f"{number:0{digits}}_{file}row{faces.rows[i]}")
    return names


def write_table(path: Path, faces: Faces, paths: list[Path], judged: Judged) -> None:
    """Write suspects.csv: a line for each suspicious label, the largest error in spreads first."""
    found = np.argwhere(judged.suspect)
    found = found[np.argsort(-judged.in_spreads[judged.suspect], kind="stable")]
    lines = []
    for i, k in found:
        numbers = *faces.key_points[i, k], *judged.predicted[i, k], judged.errors[i, k]
        lines.append(
            [
                printable(paths[faces.file[i]]),
                int(faces.rows[i]),
                faces.names[k],
                *(f"{number:.3f}" for number in numbers),
                f"{judged.in_spreads[i, k]:.2f}",
                explain(judged, faces.key_points, faces.names, i, k),
                picture_digest(faces.pictures[i]),
            ]
        )
    write_rows(path, HEADER, lines)


def write_labelme(path: Path, faces: Faces, judged: Judged, i: int) -> None:
    """Write the face at index `i` with its labels as they are: LabelMe's JSON, its picture beside.

    From each suspect a line leads to the prediction. It is not read again.
    """
    from PIL import Image

    picture = path.with_suffix(".png")
    replace_file(picture, lambda file: Image.fromarray(faces.pictures[i]).save(file))
    labels = faces.key_points[i].astype(float)
    visibility = np.where(np.isfinite(labels).all(1), VISIBLE, NOT_LABELLED)
    face = LabelledFace(labels, visibility)
    document = labelme_document(picture.name, (SIZE, SIZE), [face], faces.names)
    for k in np.flatnonzero(judged.suspect[i]):
        name, label, predicted = faces.names[k], labels[k], judged.predicted[i, k]
        ends = [(label + 0.5).tolist(), (predicted + 0.5).tolist()]
        line = shape(f"{name}: predicted", "line", ends, 1)
        line["description"] = (
            f"{judged.errors[i, k]:.1f} px, {judged.in_spreads[i, k]:.1f} spreads:"
            f" {explain(judged, faces.key_points, faces.names, i, int(k))}"
        )
        document["shapes"].append(line)
    for each in document["shapes"]:
        each["group_id"] = None  # one face: points that are added need no group
    document[ROW] = int(faces.rows[i])
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False))


def write_pages(
    folder: Path, faces: Faces, judged: Judged, rows: list[int], names: list[str]
) -> None:
    """Draw the faces at the indices `rows`, named `names`, 16 a page: labels and predictions."""
    starts = range(0, len(rows), PER_PICTURE)
    found = np.isfinite(faces.key_points).any((0, 2))  # not those that are never labelled
    for page, start in enumerate(follow(starts, "drawing pages"), 1):
        chosen = rows[start : start + PER_PICTURE]
        largest = np.where(judged.suspect[chosen], judged.errors[chosen], 0).max(1)
        titles = [
            f"{name.replace('_', ' ')}: {error:.1f} px"
            for name, error in zip(names[start:], largest, strict=False)
        ]
        values = (faces.key_points, judged.predicted, judged.spread, judged.suspect)
        labels, predicted, spread, suspect = (each[chosen][:, found] for each in values)
        plot_against_labels(
            folder / f"page{page:0{len(str(len(starts)))}}.png",
            (faces.pictures[chosen], labels, predicted, spread, suspect),
            titles,
            f"Rows with suspicious labels, {start + 1} to {start + len(chosen)} of {len(rows)}"
            " (largest error of each)",
            ("label", "suspect"),
        )
