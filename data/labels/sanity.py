"""Checks of a training file's key points before training starts: can they be right?

Labels that cannot be right raise an InputError; suspicious ones give a warning. Both name a row, a
column and the likely mistake. Real faces pass: Kaggle's, LFW's and AFLW's raise nothing.
"""

import difflib
import re

import numpy as np

from data.faces import Faces
from data.key_points import KEY_POINTS, SIZE, Names, mirror_partners
from data.system.files import InputError

FEW = 5  # faces: below that a median says little

OUTLIER = 35.0  # pixels from a point's median; no point of Kaggle's or LFW's faces is above 30

FILLED = 0.1  # share of the faces whose point is at exactly the same position as another face's
FILLED_WHOLE = 0.25  # share at one position, where all coordinates are whole pixels


def check_key_points(faces: Faces) -> list[str]:
    """Check the key points of a training file.

    Returns a warning, a sentence, for everything suspicious. Raises InputError if the key points
    cannot be right.
    """
    refuse_placeholders(faces)
    refuse_shares(faces)
    mean = median_face(faces.key_points)
    refuse_turned_axes(faces, mean)
    wrong_names = not_mirrored(faces, mean)
    warnings = [
        wrong_names and (swapped_point(faces.names, mean) or wrong_names),
        almost_kaggles(faces.names),
        viewers_left(faces, mean),
        misplaced(faces, mean),
        off_the_middle(mean),
        crossed_over(faces),
        outliers(faces),
        out_of_place(mean),
        filled_in(faces),
    ]
    return [f"{faces.path}: {text}" for text in warnings if text]


def median_face(key_points: np.ndarray) -> np.ndarray:
    """Each point's median over faces (N, K, 2), (K, 2); NaN where fewer than FEW have it.

    A mean face that a few wrong labels do not move.
    """
    middle = np.full(key_points.shape[1:], np.nan)
    enough = np.isfinite(key_points[..., 0]).sum(0) >= FEW
    middle[enough] = np.nanmedian(key_points[:, enough], 0)
    return middle


def place(faces: Faces, where: np.ndarray) -> str:
    """The column and row of the first point in the mask `where`, bool (N, K), as text."""
    i, k = np.argwhere(where)[0]
    x, y = faces.key_points[i, k]
    more = f", as {where.sum() - 1} more do" if where.sum() > 1 else ""
    return f"{faces.names[k]}_x and {faces.names[k]}_y in {faces.place(i)} say ({x:g}, {y:g}){more}"


# --- impossible ----------------------------------------------------------------------------------


def refuse_placeholders(faces: Faces) -> None:
    """Raise InputError where a point is at (0, 0), (-1, -1) or the like, meaning "missing"."""
    x, y = np.moveaxis(faces.key_points, -1, 0)
    corner = (x == y) & (x <= 0)
    if corner.any():
        raise InputError(
            f"{faces.path}: {place(faces, corner)}, which cannot be a point of a face; if it"
            " stands for a point that is not labelled, leave both fields empty."
        )


def refuse_shares(faces: Faces) -> None:
    """Raise InputError where the coordinates are fractions of the picture instead of pixels."""
    values = faces.key_points[np.isfinite(faces.key_points)]
    low, high = np.quantile(values, (0.01, 0.99))
    if low < -1.5 or high > 1.5:
        return
    kind, pixels = ("-1 to 1", f"(value + 1) * {SIZE // 2}")
    if low > -0.3:
        kind, pixels = ("0 to 1", f"value * {SIZE}")
    raise InputError(
        f"{faces.path}: {place(faces, np.isfinite(faces.key_points[..., 0]))}: these look like"
        f" fractions of the picture, {kind}; convert them to pixels, {pixels} - 0.5."
    )


# Words in the names of points that lie above and below one another in every upright face.
UPPER, LOWER = ("eye", "brow", "pupil"), ("mouth", "lip", "chin")


def refuse_turned_axes(faces: Faces, mean: np.ndarray) -> None:
    """Raise InputError where, on average, x and y are swapped or y counts upwards."""
    down = np.full(2, np.nan)  # from the eyes to the mouth
    upper, lower = (
        [k for k, n in enumerate(faces.names) if any(word in n.lower() for word in words)]
        for words in (UPPER, LOWER)
    )
    if np.isfinite(mean[upper]).any() and np.isfinite(mean[lower]).any():
        down = np.nanmean(mean[lower], 0) - np.nanmean(mean[upper], 0)
    across = np.full(2, np.nan)  # how far apart left and right are
    partners = mirror_partners(faces.names)
    if partners is not None:
        apart = np.abs(mean - mean[partners])[partners != np.arange(len(mean))]
        if np.isfinite(apart).any():
            across = np.nanmean(apart, 0)
    swapped = [down[0] > 2 * abs(down[1]) and down[0] > 8, across[1] > 2 * across[0] + 8]
    known = [np.isfinite(down).all(), np.isfinite(across).all()]
    if any(known) and all(s for s, k in zip(swapped, known, strict=True) if k):
        lies = "the mouth lies beside the eyes" if known[0] else "left lies above or below right"
        raise InputError(
            f"{faces.path}: on average {lies}; x and y"
            " look swapped: swap the columns (or turn the pictures, if the faces lie on the side)."
        )
    if known[0] and down[1] < -8 and -down[1] > abs(down[0]):
        raise InputError(
            f"{faces.path}: on average the mouth lies above the eyes; y must count downwards from"
            f" the top of the picture: make it {SIZE - 1} - y (or turn the pictures, if the faces"
            " are upside down)."
        )


# Where Kaggle's key points are, on average, in whole pixels.
USUAL = np.array(
    [(66, 37), (30, 37), (58, 38), (74, 38), (38, 38), (22, 38), (56, 29), (80, 30), (39, 29)]
    + [(16, 30), (48, 58), (63, 76), (33, 76), (48, 71), (48, 83)],
    float,
)
# Pixels from where a point usually lies, on average: suspicious, and perhaps impossible.
MISPLACED, IMPOSSIBLE = 10.0, 20.0


def misplaced(faces: Faces, mean: np.ndarray) -> str | None:
    """A warning if one of Kaggle's points is not, on average, where it lies beside the others.

    Raises InputError if its columns are certainly swapped, or those of another point.
    """
    known = np.flatnonzero(np.isfinite(mean).all(1))
    if faces.names != KEY_POINTS or len(known) < 6:
        return None
    usual = USUAL.copy()
    if viewers_left(faces, mean):
        usual = usual[mirror_partners(faces.names)]
    # Scale and shift by medians, so that a few wrong points do not move the others.
    one, two = known[np.array(np.triu_indices(len(known), 1))]
    size = np.linalg.norm(mean[one] - mean[two], axis=1)
    scale = np.median(size / np.linalg.norm(usual[one] - usual[two], axis=1))
    usual = usual * scale + np.median((mean - usual * scale)[known], 0)
    off = np.linalg.norm(mean - usual, axis=1) / max(scale, 1e-6)
    if not np.nanmax(off) > MISPLACED or np.nanmedian(off) > MISPLACED / 2:
        return None
    k = int(np.nanargmax(off))
    name, (x, y) = faces.names[k], mean[k]
    elsewhere = np.linalg.norm(mean[k] - usual, axis=1) / scale
    other = int(np.nanargmin(np.where(off > MISPLACED, elsewhere, np.inf)))
    turned = np.linalg.norm(mean[k, ::-1] - usual[k]) / scale
    guess = "is it right?"
    if other != k and elsewhere[other] < min(turned, 0.3 * off[k]):
        guess = f"that is where {faces.names[other]} belongs: put the columns right."
    elif turned < 0.3 * off[k]:
        guess = "its x and y look swapped: swap the two columns."
    text = (
        f"{name}_x and {name}_y are ({x:.0f}, {y:.0f}) on average, but beside the other points of"
        f" these faces about ({usual[k, 0]:.0f}, {usual[k, 1]:.0f}) is usual; {guess}"
    )
    if off[k] > IMPOSSIBLE and guess.endswith("."):
        raise InputError(f"{faces.path}: {text}")
    return text


# --- suspicious ----------------------------------------------------------------------------------


def not_mirrored(faces: Faces, mean: np.ndarray) -> str | None:
    """A warning if two points are partners by their names but not mirror images, on average.

    The mean face is mirrored about its middle line. The names mislead where a point is then far
    from its partner and near another point. Kaggle's names are known to be right.
    """
    names = faces.names
    partners = mirror_partners(names)
    if partners is None or names == KEY_POINTS:
        return None
    pairs = partners != np.arange(len(names))
    both = (mean + mean[partners])[pairs, 0]
    both = both[np.isfinite(both)]
    if not both.size:
        return None
    middle = both.mean() / 2
    mirrored = np.array([2 * middle, 0]) + mean * [-1, 1]
    off = np.linalg.norm(mirrored - mean[partners], axis=1)
    apart = np.linalg.norm(mirrored[:, None] - mean[None], axis=-1)  # (K, K)
    nearest = np.argmin(np.where(np.isnan(apart), np.inf, apart), axis=1)
    best = apart[np.arange(len(names)), nearest]
    size = np.sqrt(np.nanmean((mean - np.nanmean(mean, 0)) ** 2))
    wrong = (off > 0.15 * size) & (best < 0.4 * off)
    for k in np.flatnonzero(wrong):
        other = names[nearest[k]]
        if nearest[nearest[k]] == k or wrong[nearest[k]]:
            alone = "no partner" if partners[k] == k else f"the partner {names[partners[k]]}"
            return (
                f"by their names {names[k]} has {alone}, but in a mirrored picture it lies where"
                f" {other} does: faces are not mirrored; the two names should differ in left and"
                " right only."
            )
    return None


def swapped_point(names: Names, mean: np.ndarray) -> str | None:
    """A warning if one point would be its partner's mirror image with x and y swapped."""
    partners = mirror_partners(names)
    if partners is None:
        return None
    both = np.nanmedian((mean + mean[partners])[:, 0])
    image = np.array([both, 0]) + mean[partners] * [-1, 1]
    off, turned = (np.linalg.norm(place - image, axis=1) for place in (mean, mean[:, ::-1]))
    found = np.flatnonzero((off > IMPOSSIBLE) & (turned < 0.3 * off))
    if not found.size:
        return None
    name, (x, y) = names[found[0]], mean[found[0]]
    return (
        f"{name}_x and {name}_y are ({x:.0f}, {y:.0f}) on average, so that x and y look swapped"
        f" beside {names[partners[found[0]]]}: swap the two columns?"
    )


def almost_kaggles(names: Names) -> str | None:
    """A warning if most names are Kaggle's and another one is nearly one of them."""
    missing = [name for name in KEY_POINTS if name not in names]
    for name in names:
        like = re.sub(r"[^a-z]+", "_", name.lower())
        close = difflib.get_close_matches(like, missing, 1, 0.85)
        if name not in KEY_POINTS and close and len(missing) < len(KEY_POINTS) / 2:
            return (
                f"{name} is none of Kaggle's 15 key points, but most others are: is {close[0]}"
                " meant? As it stands the model gets these points as points of your own."
            )
    return None


def viewers_left(faces: Faces, mean: np.ndarray) -> str | None:
    """A warning if left in Kaggle's names is the viewer's left."""
    if faces.names != KEY_POINTS:
        return None
    partners = mirror_partners(faces.names)
    assert partners is not None
    left = [k for k, name in enumerate(faces.names) if "left" in name.split("_")]
    across = (mean - mean[partners])[left, 0]
    if not np.isfinite(across).any() or np.nanmean(across) >= 0:
        return None
    k = left[int(np.nanargmin(across))]
    column = f"{faces.names[k]}_x"
    rows = faces.key_points[:, k, 0] < faces.key_points[:, partners[k], 0]
    return (
        f"{column} is smaller than {faces.names[partners[k]]}_x in {rows.sum()} rows, the first of"
        f" them {faces.place(int(np.argmax(rows)))}: left seems to be the"
        " viewer's, but should be the subject's (the larger x): swap the names, or every answer"
        " will have them the other way round."
    )


def sides_differ(names: Names, first: np.ndarray, other: np.ndarray) -> bool:
    """Whether left in one mean face (K, 2) is right in another one of the same key points.

    NaN where a point is not known.
    """
    partners = mirror_partners(names)
    if partners is None:
        return False
    across = [mean[:, 0] - mean[partners, 0] for mean in (first, other)]
    both = np.isfinite(across).all(0) & (np.abs(across) > 5).all(0)
    return bool(both.any() and (np.sign(across[0]) != np.sign(across[1]))[both].all())


def crossed_over(faces: Faces) -> str | None:
    """A warning if left and right are the other way round in some rows only."""
    partners = mirror_partners(faces.names)
    if partners is None:
        return None
    across = faces.key_points[..., 0] - faces.key_points[:, partners, 0]
    usual = median_face(across[..., None])[:, 0]  # the sign says on which side
    across = np.nan_to_num(across * np.sign(usual))
    crossed = (across < -10) & (np.arange(len(partners)) < partners)
    if not crossed.any():
        return None
    k = np.argwhere(crossed)[0, 1]
    return (
        f"{place(faces, crossed)}, which is beyond {faces.names[partners[k]]}: were left and right"
        " mixed up there, or a picture mirrored without them?"
    )


def outliers(faces: Faces) -> str | None:
    """A warning if a point is far from where it is in most faces."""
    distance = np.linalg.norm(faces.key_points - median_face(faces.key_points), axis=-1)
    far = np.isfinite(distance) & (distance > OUTLIER)
    if not far.any():
        return None
    return f"{place(faces, far)}, more than {OUTLIER:g} px from where it usually lies; is it right?"


def out_of_place(mean: np.ndarray) -> str | None:
    """A warning if the faces as a whole lie outside the picture, or are tiny."""
    known = mean[np.isfinite(mean).all(1)]
    if len(known) < 3:
        return None
    inside = ((known > -0.5) & (known < SIZE - 0.5)).all(1)
    if inside.mean() < 0.5:
        return f"most points lie outside of the {SIZE}x{SIZE} picture; are these its pixels?"
    width, height = np.ptp(known, 0)
    if max(width, height) < 16:
        return (
            f"all points lie within {max(width, height):.0f} px of one another on average; are"
            f" these pixels of the {SIZE}x{SIZE} picture?"
        )
    return None


def off_the_middle(mean: np.ndarray) -> str | None:
    """A warning if the points lie left or right of the picture's middle, on average."""
    x = mean[np.isfinite(mean).all(1), 0]
    if len(x) < 3:
        return None
    middle = (x.min() + x.max()) / 2
    if abs(middle - (SIZE - 1) / 2) < ASIDE:
        return None
    guess = f"pixels of another size of pictures (about {2 * middle + 1:.0f} wide)"
    if middle < ASIDE:
        guess = "fractions of the picture, or counted from its middle"
    return (
        f"the points' middle lies at x = {middle + 0:.0f} on average, that of a {SIZE}x{SIZE}"
        f" picture at {(SIZE - 1) / 2:g}; are they {guess}? Then make pixels of them."
    )


ASIDE = 12.0  # pixels; Kaggle's, LFW's and AFLW's faces are within 3, a 64x64 picture's 16 off


def filled_in(faces: Faces) -> str | None:
    """A warning if points seem to be filled in from other rows, or by an average."""
    if len(faces.rows) < 2 * FEW:
        return None
    points = faces.key_points
    for k, name in enumerate(faces.names):
        there = np.flatnonzero(np.isfinite(points[:, k, 0]))
        if len(there) < 2 * FEW:
            continue
        _, index, count = np.unique(
            points[there, k], axis=0, return_inverse=True, return_counts=True
        )
        # Whole pixels coincide by chance, but not so many of them in one place.
        whole = (points[there, k] % 1 == 0).all()
        repeated = there[count[np.ravel(index)] > (len(there) * FILLED_WHOLE if whole else 1)]
        pictures = {faces.pictures[row].tobytes() for row in repeated}
        if len(pictures) > max(FILLED * len(there), FEW):
            return (
                f"{name}_x and {name}_y are the same to the last digit in {len(repeated)} rows that"
                f" show other faces, such as {faces.place(repeated[1])}:"
                " were they filled in? Leave empty what is not labelled; it is left out then."
            )
    return None
