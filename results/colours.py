"""The colours and markers of key points: the same in every picture and film."""

from __future__ import annotations

import re
from functools import lru_cache

from data.key_points import side_of

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


def style_of(name: str) -> tuple[str, str, str]:
    """Colour, marker and legend entry of a key point: colour tells the part, marker the side."""
    part = next((part for part, words in PARTS.items() if words.search(name.lower())), "other")
    side = side_of(name) or "middle"
    label = f"{part}, {side}" if side != "middle" else part
    return COLOURS.get(part, OTHER), MARKERS[side], label


@lru_cache(maxsize=512)
def rgb_of(name: str) -> tuple[int, int, int]:
    """A key point's colour: red, green and blue, 0 .. 255."""
    from PIL import ImageColor

    red, green, blue = ImageColor.getrgb(style_of(name)[0])[:3]
    return red, green, blue
