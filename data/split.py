"""Which faces are held out: near-identical pictures, and those of one person, stay together."""

import numpy as np

from data.faces import Faces
from data.key_points import SIZE
from data.system.files import InputError

# Two pictures are near-identical when their thumbnails correlate above 0.95 (checked by eye on
# Kaggle's file: there it finds shots of one session). For vectors of length 1 and mean 0,
# distance^2 = 2 - 2 * correlation.
SIMILAR = float(np.sqrt(2 - 2 * 0.95))


def thumbnails(pictures: np.ndarray) -> np.ndarray:
    """16x16 thumbnails as vectors of mean 0 and length 1, float32 (N, 256)."""
    small = pictures.reshape(len(pictures), 16, SIZE // 16, 16, SIZE // 16).mean((2, 4))
    small = small.reshape(len(pictures), -1).astype(np.float32)
    small -= small.mean(1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def group_similar(pictures: np.ndarray, identities: np.ndarray | None = None) -> np.ndarray:
    """Number the groups of near-identical pictures, (N,) int; equal identities join as well.

    Groups are connected components: DBSCAN in which every point is a core point.
    """
    from sklearn.cluster import DBSCAN

    groups = DBSCAN(eps=SIMILAR, min_samples=1).fit_predict(thumbnails(pictures))
    if identities is None:
        return groups
    # Join the two partitions: renumber until neither has a group that the other tears apart.
    _, people = np.unique(identities, return_inverse=True)
    while True:
        joined = _lowest_in(people, _lowest_in(groups, groups))
        joined = _lowest_in(groups, joined)
        if np.array_equal(joined, groups):
            return groups
        groups = joined


def _lowest_in(partition: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each element the lowest of `values` within its part of `partition`, (N,) int."""
    lowest = np.full(partition.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, partition, values)
    return lowest[partition]


def split_faces(
    faces: Faces, fraction: float = 0.2, further_fraction: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Split into training and held-out faces, near-identical pictures on the same side.

    The first file's split does not depend on what is joined to it, so that runs with and without
    further files can be compared; a further file's picture that an earlier file has too goes
    where it stands there, with its whole group.

    Args:
        faces: Faces, perhaps joined from several files.
        fraction, further_fraction: share held out of the first file, and of each further one.
        seed: of the draw.

    Returns:
        Two sorted index arrays, training and held-out. Raises InputError if all pictures of the
        first file are near-identical.
    """
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.neighbors import NearestNeighbors

    held_out = np.zeros(len(faces.rows), bool)
    described = thumbnails(faces.pictures)
    for file in np.unique(faces.file):
        rows = np.flatnonzero(faces.file == file)
        identities = None if faces.identities is None else faces.identities[rows]
        groups = group_similar(faces.pictures[rows], identities)
        free: np.ndarray = np.ones(len(rows), bool)
        earlier = np.flatnonzero(faces.file < file)
        if earlier.size:
            nearest = NearestNeighbors(n_neighbors=1).fit(described[earlier])
            distance, index = nearest.kneighbors(described[rows])
            same = distance[:, 0] < SIMILAR
            free = ~np.isin(groups, groups[same])
            known = same & held_out[earlier[index[:, 0]]]
            held_out[rows] = np.isin(groups, groups[known])
        if len(np.unique(groups[free])) < 2:
            if file > 0:
                continue
            raise InputError(
                f"{faces.path}: all {len(rows)} pictures are near-identical, so none can be held"
                " out; more faces are needed."
            )
        share = fraction if file == 0 else further_fraction
        splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        try:
            _, chosen = next(splitter.split(rows[free], groups=groups[free]))
        except ValueError:  # one side would be empty
            count = len(np.unique(groups[free]))
            raise InputError(
                f"{faces.path}: {count} groups of unlike pictures are too few to hold out a share"
                f" of {share}; give more faces or another --validation-split."
            ) from None
        held_out[rows[free][chosen]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
