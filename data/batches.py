"""Endless batches of augmented faces, and of pictures without a face."""

from collections.abc import Iterator

import numpy as np

from data.augment.non_faces import non_faces
from data.augment.views import augment, relight
from data.faces import Faces, labelled_points
from data.key_points import SIZE
from data.settings import Settings

PART = 32  # faces augmented by one random generator, in whichever worker; fewer are slower


def epoch_rows(faces: Faces, settings: Settings) -> np.ndarray:
    """The rows of one epoch, int; the first of several files repeated `first_repeats` times."""
    rows = np.arange(len(faces.rows))
    if len(np.unique(faces.file)) == 1:
        return rows
    return np.repeat(rows, np.where(faces.file == 0, settings.first_repeats, 1))


def batches(
    faces: Faces, settings: Settings, first_epoch: int = 0, worker: int = 0, workers: int = 1
) -> Iterator[tuple]:
    """Endless augmented batches of Faces, whole batches only.

    Each epoch's order and augmentation depend only on the seed and the epoch's number. Of several
    workers each draws its own part of every batch; together the parts are the batch that a single
    worker would draw.

    Yields ((pictures float32 (N, 96, 96, 1), source int (N, 1)), coordinates float32 (N, 2K),
    weights float32 (N,)): the weights make the mean over the batch's faces of `masked_loss` the
    mean over all coordinates labelled in it.
    """
    epoch = first_epoch
    while True:
        for start, rows in epoch_batches(faces, settings, epoch):
            yield draw_batch(faces, settings, epoch, start, rows, worker, workers)
        epoch += 1


def epoch_batches(faces: Faces, settings: Settings, epoch: int) -> list[tuple[int, np.ndarray]]:
    """The epoch's batches in order: each one's start in the epoch, and its rows of `faces`."""
    rows = epoch_rows(faces, settings)
    order = np.random.default_rng((settings.seed, epoch)).permutation(rows)
    size = min(settings.batch_size, len(rows))
    return [(at, order[at : at + size]) for at in range(0, len(order) - size + 1, size)]


def draw_batch(
    faces: Faces,
    settings: Settings,
    epoch: int,
    start: int,
    rows: np.ndarray,
    worker: int = 0,
    workers: int = 1,
) -> tuple:
    """A batch as `batches` yields it, or a worker's part, for a `start` and `rows` of
    `epoch_batches`; the augmentation depends only on these and the seed."""
    share = len(rows) // workers
    own = rows[worker * share : (worker + 1) * share]
    parts = []
    for at in range(0, share, PART):
        part = own[at : at + PART]
        # Counted from 1: for NumPy (seed, epoch, 0) is (seed, epoch), the order's generator.
        rng = np.random.default_rng((settings.seed, epoch, 1 + start + worker * share + at))
        parts.append(
            augment(faces.pictures[part], faces.key_points[part], rng, settings, faces.names)
        )
    x, y = map(np.concatenate, zip(*parts, strict=True))
    labelled = np.isfinite(faces.key_points[rows]).sum()
    weight = len(rows) * 2 * len(faces.names) / max(labelled, 1)
    weights = np.full(share, weight, np.float32)
    return (x[..., None], faces.source[own, None]), y.reshape(share, -1), weights


def batches_with_non_faces(faces: Faces, settings: Settings, first_epoch: int) -> Iterator[tuple]:
    """As `batches`, but the first pictures of each batch show no face and get random key points,
    from which the spread learns that there are none. Points without any label get none."""
    rng = np.random.default_rng((settings.seed, 1, 0))
    unknown = np.repeat(~labelled_points(faces, settings.flip > 0), 2)
    for (x, source), y, _ in batches(faces, settings, first_epoch):
        count = round(settings.non_faces * len(x))
        x[:count, ..., 0] = relight(non_faces(x[:count, ..., 0], rng), rng, settings)
        y[:count] = np.where(unknown, np.nan, rng.uniform(0, SIZE - 1, y[:count].shape))
        yield (x, source), y
