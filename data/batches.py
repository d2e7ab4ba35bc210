"""Batches of augmented faces, and of pictures without a face, without end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.augment.non_faces import non_faces
from data.augment.views import Augmentation, augment, relight
from data.faces import Faces
from data.key_points import SIZE


@dataclass(frozen=True)
class Batching(Augmentation):
    """How the faces of an epoch are put together."""

    batch_size: int = 64  # keeps the cores busy, and leaves 26 steps an epoch on 1,700 faces
    seed: int = 0  # the split, the first weights, the order and every augmentation follow from it
    first_repeats: int = 10  # times per epoch the first file is gone through, not to be drowned
    non_faces: float = 0.15  # share of the pictures that show no face, while the spread is learned


PART = 32  # faces augmented from one generator, by whichever worker; fewer would take longer


def epoch_rows(faces: Faces, settings: Batching) -> np.ndarray:
    """The rows gone through in one epoch, each file's as often as it should be; int array."""
    rows = np.arange(len(faces.rows))
    if len(np.unique(faces.file)) == 1:
        return rows
    return np.repeat(rows, np.where(faces.file == 0, settings.first_repeats, 1))


def batches(
    faces: Faces, settings: Batching, first_epoch: int = 0, worker: int = 0, workers: int = 1
) -> Iterator[tuple]:
    """Augmented batches of Faces without end, whole batches only.

    Each epoch's order and views depend on nothing but the seed and the epoch's number. Of several
    workers each gets, and augments, its own part of every batch: one after the other they are the
    batch that one worker alone would get.

    Yields ((pictures float32 (N, 96, 96, 1), source int (N, 1)), coordinates float32 (N, 2K),
    weights float32 (N,)): the weights make the mean over the batch's faces of `masked_loss` the
    mean over all coordinates labelled in it.
    """
    epoch = first_epoch
    while True:
        for start, rows in epoch_batches(faces, settings, epoch):
            yield draw_batch(faces, settings, epoch, start, rows, worker, workers)
        epoch += 1


def epoch_batches(faces: Faces, settings: Batching, epoch: int) -> list[tuple[int, np.ndarray]]:
    """The epoch's batches in order: where each starts among its rows, and its rows."""
    every = epoch_rows(faces, settings)
    order = np.random.default_rng((settings.seed, epoch)).permutation(every)
    size = min(settings.batch_size, len(every))
    return [(at, order[at : at + size]) for at in range(0, len(order) - size + 1, size)]


def draw_batch(
    faces: Faces,
    settings: Batching,
    epoch: int,
    start: int,
    rows: np.ndarray,
    worker: int = 0,
    workers: int = 1,
) -> tuple:
    """One of the batches as `batches` yields it, of what `epoch_batches` gives: its views depend
    on nothing else."""
    share = len(rows) // workers
    own = rows[worker * share : (worker + 1) * share]
    parts = []
    for at in range(0, share, PART):
        some = own[at : at + PART]
        # From 1 up: to NumPy (seed, epoch, 0) is (seed, epoch), the order's generator.
        rng = np.random.default_rng((settings.seed, epoch, 1 + start + worker * share + at))
        parts.append(
            augment(faces.pictures[some], faces.key_points[some], rng, settings, faces.names)
        )
    x, y = map(np.concatenate, zip(*parts, strict=True))
    labelled = np.isfinite(faces.key_points[rows]).sum()
    weight = len(rows) * 2 * len(faces.names) / max(labelled, 1)
    weights = np.full(share, weight, np.float32)
    return (x[..., None], faces.source[own, None]), y.reshape(share, -1), weights


def batches_with_non_faces(faces: Faces, settings: Batching, first_epoch: int) -> Iterator[tuple]:
    """As `batches`, but the first pictures of each batch show no face, and their points may be
    anywhere in the picture: what the spread is to be learned from."""
    rng = np.random.default_rng((settings.seed, 1, 0))
    for (x, source), y, _ in batches(faces, settings, first_epoch):
        count = round(settings.non_faces * len(x))
        x[:count, ..., 0] = relight(non_faces(x[:count, ..., 0], rng), rng, settings)
        y[:count] = rng.uniform(0, SIZE - 1, y[:count].shape)
        yield (x, source), y
