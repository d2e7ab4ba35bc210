"""The colours and markers of key points: the same in every picture and film."""

from __future__ import annotations

import re
from functools import lru_cache

from data.key_points import KEY_POINTS, Names, side_of

# Okabe and Ito's palette, which colour-blind people can tell apart: https://jfly.uni-koeln.de/color/
COLOURS = {"eyebrow": "#F0E442", "eye": "#56B4E9", "nose": "#009E73", "mouth": "#E69F00"}

OTHER = "#CC79A7"  # of points whose names say none of these parts

# How points' names, of any origin, say which part of the face they belong to.
PARTS = {
    "eyebrow": re.compile("brow"),
    "eye": re.compile("eye|pupil|iris|canthus"),
    "nose": re.compile("nose|nostril|nasal"),
    "mouth": re.compile("mouth|lip"),
}

MARKERS = {"left": ">", "right": "<", "middle": "o"}  # triangles point outwards

# Of own key points that are few, one each: the same palette, its other colours, and paler ones.
EACH = (
    *("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2"),
    *("#FFFFFF", "#B2DF8A", "#CAB2D6", "#FDBF6F", "#999999"),
)

Style = tuple[str, str, str]  # colour, marker and legend entry


def part_of(name: str) -> str | None:
    """The part of the face that a key point's name says, a key of `PARTS`; None if it says none."""
    return next((part for part, words in PARTS.items() if words.search(name.lower())), None)


def style_of(name: str) -> Style:
    """Colour, marker and legend entry of a key point: colour tells the part, marker the side."""
    part = part_of(name) or "other"
    side = side_of(name) or "middle"
    label = f"{part}, {side}" if side != "middle" else part
    return COLOURS.get(part, OTHER), MARKERS[side], label


@lru_cache(maxsize=64)
def styles_of(names: Names) -> tuple[Style, ...]:
    """The styles of a model's key points, (K,).

    Kaggle's are told apart by part and side. Own ones have a colour each and their names in the
    legend, as long as there are colours; more are told apart by groups: the part, or what is left
    of the name without sides and numbers.
    """
    if set(names) <= set(KEY_POINTS):
        return tuple(map(style_of, names))
    if len(names) <= len(EACH):
        each = zip(EACH, names, strict=False)
        return tuple((colour, style_of(name)[1], name) for colour, name in each)
    groups = [group_of(name) for name in names]
    free = iter([colour for colour in EACH if colour not in COLOURS.values()])
    colours = {group: COLOURS.get(group) or next(free, OTHER) for group in dict.fromkeys(groups)}
    return tuple((colours[group], "o", group) for group in groups)


def group_of(name: str) -> str:
    """What a key point's name has in common with others': its part, or its words without sides and
    numbers; "points" where nothing is left."""
    if part := part_of(name):
        return part
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", name)
    return " ".join(word for word in words if side_of(word) is None) or "points"


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour such as #56B4E9 as red, green and blue, 0 .. 255."""
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue
