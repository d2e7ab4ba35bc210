"""Which faces are held out: near-identical pictures, and those of one person, stay together."""

import numpy as np

from data.faces import Faces
from data.key_points import SIZE
from data.system.files import InputError
from data.system.progress import progress_bar

# Two pictures are near-identical when their thumbnails correlate above this (checked by eye on
# Kaggle's file: there it finds shots of one session).
SIMILAR = 0.95
BLOCK = 256  # pictures that are compared with all others at once: 8 MB for 30,000 pictures


def thumbnails(pictures: np.ndarray) -> np.ndarray:
    """16x16 thumbnails as vectors of length 1 whose products are correlations, float32 (N, 256).

    Their mean is 0, but for that of a blank picture: all such are near-identical.
    """
    side = SIZE // 16
    small = np.empty((len(pictures), 256), np.float32)
    for start in range(0, len(pictures), BLOCK):  # block by block, to stay in the cache
        block = pictures[start : start + BLOCK].reshape(-1, 16, side, SIZE)
        rows = block.sum(2, dtype=np.float32).reshape(-1, 256, side)
        small[start : start + BLOCK] = rows.sum(2) / np.float32(side**2)
    small -= small.mean(1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.where(length > 1e-6, small / np.maximum(length, 1e-6), np.float32(1 / 16))


def group_similar(pictures: np.ndarray, identities: np.ndarray | None = None) -> np.ndarray:
    """Number the groups of near-identical pictures, (N,) int; equal identities join as well."""
    return join_people(join_similar(thumbnails(pictures)), identities)


def join_people(groups: np.ndarray, identities: np.ndarray | None) -> np.ndarray:
    """The groups (N,) with those joined that share an identity, (N,); None: nobody is known."""
    if identities is None:
        return groups
    # Join the two partitions: renumber until neither has a group that the other splits.
    _, people = np.unique(identities, return_inverse=True)
    while True:
        joined = _lowest_in(people, _lowest_in(groups, groups))
        joined = _lowest_in(groups, joined)
        if np.array_equal(joined, groups):
            return groups
        groups = joined


def join_similar(described: np.ndarray) -> np.ndarray:
    """Number the connected components of near-identical thumbnails (N, 256), (N,) int, in order.

    Each is compared with all before it. That is quadratic, but a matrix multiplication: 30,000
    take about four seconds of a core, a third of scikit-learn's DBSCAN, whose lists of neighbours
    also take N * N memory where the pictures are one film.
    """
    count = len(described)
    groups = np.arange(count)
    with progress_bar("comparing pictures with one another", count) as advance:
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            similar = described[start:stop] @ described[:stop].T > SIMILAR
            rows = np.arange(start, stop)
            groups = _join(groups, rows, similar.argmax(1))  # each to its first one
            apart = np.flatnonzero(similar & (groups[rows, None] != groups[:stop]))
            groups = _join(groups, start + apart // stop, apart % stop)
            advance(stop - start)
    _, first, groups = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def _join(groups: np.ndarray, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The groups (N,) with those of the elements `some` and `others` (M,) joined in pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = groups[some], groups[others]
    graph = coo_array((np.ones(len(some), bool), pairs), (len(groups), len(groups)))
    return connected_components(graph, directed=False)[1][groups]


def _lowest_in(partition: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each element the lowest of `values` within its part of `partition`, (N,) int."""
    lowest = np.full(partition.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, partition, values)
    return lowest[partition]


# How far the held-out rows may be from the share that was asked for, as a part of it: on Kaggle's
# file a random draw of groups is up to 17 % off (seeds 0 to 9).
TOLERANCE = 0.25
FILM = 20  # rows: fewer that are all near-identical are too few for stretches of time


def split_faces(
    faces: Faces, fraction: float = 0.2, further_fraction: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Split into training and held-out faces, near-identical pictures on the same side.

    The first file's split does not depend on what is joined to it, so that runs with and without
    further files can be compared. A further file's picture that an earlier file has too goes to
    the side where it is there, with its whole group. Of a single film stretches of time are held
    out. Prints a warning where no fair share of a file can be.

    Args:
        faces: Faces, perhaps joined from several files.
        fraction, further_fraction: share of the rows held out of the first file, and of each
            further one.
        seed: of the random draw.

    Returns:
        Two sorted index arrays, training and held-out. Raises InputError if none of the first
        file can be held out.
    """
    held_out = np.zeros(len(faces.rows), bool)
    described = thumbnails(faces.pictures)
    for file in np.unique(faces.file):
        rows = np.flatnonzero(faces.file == file)
        identities = None if faces.identities is None else faces.identities[rows]
        groups = join_people(join_similar(described[rows]), identities)
        free: np.ndarray = np.ones(len(rows), bool)
        earlier = np.flatnonzero(faces.file < file)
        if earlier.size:
            nearest, correlation = most_similar(described[rows], described[earlier])
            same = correlation > SIMILAR
            free = ~np.isin(groups, groups[same])
            known = same & held_out[earlier[nearest]]
            held_out[rows] = np.isin(groups, groups[known])
        if file == 0:
            name, share = str(faces.path), fraction
        else:
            name, share = f"file {file + 1} of --data", further_fraction
        numbers = faces.rows[rows][free] + 1
        chosen = hold_out(groups[free], numbers, share, seed, name, file == 0)
        held_out[rows[free][chosen]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def most_similar(some: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar of the thumbnails `others` (M, 256) for each of `some` (N, 256): its index,
    (N,) int, and the correlation, (N,)."""
    nearest = np.empty(len(some), int)
    correlation = np.empty(len(some), np.float32)
    with progress_bar("comparing pictures with the files before", len(some)) as advance:
        for start in range(0, len(some), BLOCK):
            block = slice(start, start + BLOCK)
            products = some[block] @ others.T
            nearest[block], correlation[block] = products.argmax(1), products.max(1)
            advance(len(products))
    return nearest, correlation


def hold_out(
    groups: np.ndarray, numbers: np.ndarray, share: float, seed: int, name: str, needed: bool
) -> np.ndarray:
    """Draw the rows of a file that are held out, bool (N,): whole groups of them, or two stretches
    of a film.

    Args:
        groups: each row's group, (N,).
        numbers: of the rows in the file, from 1, (N,).
        share: of the rows that should be held out.
        seed: of the random draw.
        name: of the file, for messages.
        needed: whether it is an error if none can be held out.

    Raises InputError if a single group is too small, or there are so few groups that one side
    would be empty.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    target = share * len(groups)
    if len(sizes) > 1:
        held_out = np.zeros(len(groups), bool)
        held_out[draw_groups(groups, share, seed, name)] = True
        if not is_fair(held_out, target):
            held_out = nearest_share(groups, target, np.random.default_rng(seed))
        if is_fair(held_out, target):
            return held_out
        if held_out.sum() >= target / 10 or len(groups) < FILM:
            print(
                f"warning: {name}: {held_out.sum()} of its {len(groups)} faces are held out instead"
                f" of {100 * share:g} %, because {sizes.max()} are near-identical or of one"
                " identity and stay on one side; until the file has more different faces, the"
                " held-out error says little.",
                flush=True,
            )
            return held_out
    if len(groups) >= FILM:
        return hold_out_stretches(numbers, sizes.max(), share, seed, name)
    problem = f"{name}: all {len(groups)} pictures are near-identical, so none can be held out"
    if needed:
        raise InputError(f"{problem}; more faces are needed.")
    if len(groups):
        print(f"warning: {problem}.", flush=True)
    return np.zeros(len(groups), bool)


def make_folds(faces: Faces, folds: int, seed: int) -> np.ndarray:
    """Cut faces, perhaps of several files, into folds of about equal size: each one's, int (N,).

    Near-identical pictures and one person's faces are in one fold. A group larger than a fold,
    like the frames of one film, is cut into stretches of successive rows, which a line says.
    Raises InputError if there are fewer faces than folds.
    """
    count = len(faces.rows)
    if count < folds:
        raise InputError(f"{faces.path}: {count} face(s) cannot be cut into {folds} folds.")
    groups = group_similar(faces.pictures, faces.identities)
    for group in np.flatnonzero(np.bincount(groups) > -(-count // folds)):
        rows = np.flatnonzero(groups == group)
        print(
            f"{faces.path}: {len(rows)} of the {count} pictures are near-identical or of one"
            f" identity: they are cut into {folds} stretches of rows, and judged by networks that"
            " saw the others.",
            flush=True,
        )
        for stretch in np.array_split(rows, folds)[1:]:
            groups[stretch] = groups.max() + 1
    sizes = np.bincount(groups)
    fold_of, filled = np.zeros(len(sizes), int), np.zeros(folds, int)
    order = np.random.default_rng(seed).permutation(len(sizes))
    for group in order[np.argsort(-sizes[order], kind="stable")]:  # the large ones first
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups]


def is_fair(held_out: np.ndarray, target: float) -> bool:
    """Whether the rows held out, bool (N,), are about as many as the target."""
    return abs(held_out.sum() - target) <= max(1, TOLERANCE * target)


def hold_out_stretches(
    numbers: np.ndarray, alike: int, share: float, seed: int, name: str
) -> np.ndarray:
    """Hold out two stretches of successive rows at random places, bool (N,), and say so.

    For the frames of one film: single frames would have their near-identical neighbours among
    those that are trained on; most of a stretch has not.
    """
    count = len(numbers)
    held = min(max(round(share * count), 1), count - 1)
    first = held // 2
    starts = np.sort(np.random.default_rng(seed).integers(0, count - held, 2, endpoint=True))
    stretches = [np.arange(first) + starts[0], np.arange(first, held) + starts[1]]
    rows = " and ".join(f"{numbers[s[0]]} to {numbers[s[-1]]}" for s in stretches if len(s))
    print(
        f"{name}: {alike} of its {count} pictures are near-identical or of one identity, like the"
        f" frames of one film: held out are the stretches of rows {rows} below the header. Their"
        " error is lower than that of other faces would be.",
        flush=True,
    )
    return np.isin(np.arange(count), np.concatenate(stretches))


def draw_groups(groups: np.ndarray, share: float, seed: int, name: str) -> np.ndarray:
    """The rows of a random share of the groups, int. Raises InputError if one side is empty."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    try:
        _, chosen = next(splitter.split(groups, groups=groups))
    except ValueError:
        raise InputError(
            f"{name}: {len(np.unique(groups))} groups of unlike pictures are too few to hold out a"
            f" share of {share}; give more faces or another --validation-split."
        ) from None
    return chosen


def nearest_share(groups: np.ndarray, target: float, rng: np.random.Generator) -> np.ndarray:
    """Random whole groups whose rows are together as near to `target` as possible, bool (N,).

    The subset-sum problem, by dynamic programming: bit n of a whole number says whether some of
    the groups so far have n rows together. At least one group is on each side.
    """
    labels, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(labels))
    reachable = [1]  # before each group in that order
    for group in order:
        if reachable[-1] >> round(target) & 1:
            break  # the groups so far are enough
        reachable.append(reachable[-1] | reachable[-1] << int(sizes[group]))
    sums = [n for n in range(1, len(groups)) if reachable[-1] >> n & 1]
    missing = min(sums, key=lambda n: abs(n - target))
    chosen = []
    for i in reversed(range(len(reachable) - 1)):
        if not reachable[i] >> missing & 1:  # not without this group
            chosen.append(labels[order[i]])
            missing -= int(sizes[order[i]])
    return np.isin(groups, chosen)
