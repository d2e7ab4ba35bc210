"""Fonts for names in any script: one that is installed and has their characters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

BASE = "DejaVu Sans"  # comes with Matplotlib: Latin, Greek, Cyrillic, some others

said: set[str] = set()  # characters of which it was said that no font has them


def fonts_for(texts: Iterable[str]) -> list[str]:
    """The families, in order, by which Matplotlib can draw these texts: `fontfamily=` of a text.

    Prints once which characters no installed font has.
    """
    from matplotlib import font_manager

    families = [BASE]
    for path in files_for(texts):
        font_manager.fontManager.addfont(path)
        families.append(font_manager.FontProperties(fname=path).get_name())
    return families


def files_for(texts: Iterable[str]) -> list[str]:
    """The files of fonts that have what `BASE` lacks of these texts; as few as possible."""
    wanted = frozenset("".join(texts)) - characters_of(base_file())
    wanted = frozenset(c for c in wanted if c.isprintable() and not c.isspace())
    if not wanted:
        return []
    files = []
    installed = {path: characters_of(path) for path in installed_fonts()}
    while wanted and installed:
        # The one that has most of them, upright and regular ones first.
        best = max(installed, key=lambda path: (len(wanted & installed[path]), plainness(path)))
        if not wanted & installed[best]:
            break
        files.append(best)
        wanted -= installed[best]
    if missing := wanted - said:
        said.update(missing)
        print(
            f"No font on this computer has {' '.join(sorted(missing))}: boxes are drawn instead."
            " Install one, such as Noto Sans CJK (Debian: fonts-noto-cjk)."
        )
    return files


def file_of(text: str, files: Iterable[str]) -> str:
    """Which of these font files, or `BASE`'s, has the most characters of a text."""
    return max([base_file(), *files], key=lambda path: len(characters_of(path) & set(text)))


def plainness(path: str) -> int:
    """How far a font's file name says that it is a regular one without serifs."""
    name = Path(path).stem.lower()
    odd = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "condensed", "serif")
    return ("sans" in name or "gothic" in name) - sum(word in name for word in odd)


def base_file() -> str:
    """The file of `BASE`."""
    from matplotlib import font_manager

    return str(font_manager.findfont(BASE))


def installed_fonts() -> list[str]:
    """The files of all fonts that are installed now. (Matplotlib's own list may be years old.)"""
    from matplotlib import font_manager

    return sorted(font_manager.findSystemFonts())


@lru_cache(maxsize=4096)
def characters_of(path: str) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read."""
    from matplotlib import ft2font

    try:
        return frozenset(map(chr, ft2font.FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@contextmanager
def missing_glyphs_were_said() -> Iterator[None]:
    """Without Matplotlib's warnings of characters that its fonts lack, one for each text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
