"""Photos: listing them, and reading them upright, in 8 bits and with a size limit."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.system.files import InputError, check_file, one_line, printable

if TYPE_CHECKING:
    from PIL import Image

# What this project's own pictures say of themselves, so that nobody takes them for photos.
OWN_OUTPUT = {"Software": "face_key_points"}

# Endings of files in a folder that ought to be pictures, so that one that is not gets told.
PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")

# Kinds of photos that Pillow does not read by itself: what their files begin with or are called,
# and what to do.
HEIF = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
HEIF_ENDINGS = (".heic", ".heif", ".hif")
RAW_ENDINGS = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".jxl", ".psd")


CHECKED_AHEAD = 1000  # files of folders that are checked before the first of them is read


class PhotoList:
    """Paths of photos, in order; `list_photos` makes one.

    Whether a file in a folder is a picture is checked while the list is iterated, some ahead, so
    that a folder of a million photos is begun within seconds. What is skipped is printed.
    """

    def __init__(self, listed: list[str], folders: set[str]) -> None:
        """`listed`: the files; those in `folders` are checked."""
        self.listed, self._folders = listed, folders
        self._checked = 0
        self._check()

    def __len__(self) -> int:
        """How many photos there are, as far as they are checked."""
        return len(self.listed)

    def __iter__(self) -> Iterator[Path]:
        number = 0
        while number < len(self.listed):
            if number == self._checked:
                self._check()
            else:
                yield Path(self.listed[number])
                number += 1

    def _check(self) -> None:
        some = slice(self._checked, self._checked + CHECKED_AHEAD)
        kept = [file for file in self.listed[some] if not self._skips(file)]
        self.listed[some] = kept
        self._checked += len(kept)

    def _skips(self, file: str) -> bool:
        reason = os.path.dirname(file) in self._folders and reason_to_skip(Path(file))
        if reason:
            print(f"{printable(file)} is {reason}: skipped.")
        return bool(reason)


def list_photos(paths: Iterable[Path]) -> PhotoList:
    """The photos to look at, each once: `paths`, and in place of a folder the files in it, by name.

    In place of a text file (.txt), or of `-` for the standard input, stand the paths in it, one a
    line. What is left out of a folder is printed, this project's own pictures as well. Raises
    InputError if a path does not exist or is no file, or a folder has no pictures.
    """
    listed: list[str] = []
    folders: set[str] = set()
    links: set[str] = set()
    paths = list(paths)
    lists = [path for path in paths if str(path) == "-" or path.suffix.lower() == ".txt"]
    for path in paths:
        if path.is_dir():
            prefix = str(path / "x")[:-1]
            with os.scandir(path) as entries:
                inside = sorted(entries_of(entries, links, prefix), key=os.path.normcase)
            inside = [prefix + name for name in inside]
            reasons = map(reason_to_skip, map(Path, inside))
            if all(reasons):
                for file in inside:
                    print(f"{printable(file)} is {reason_to_skip(Path(file))}: skipped.")
                raise InputError(f"{path} is a folder without pictures; give one with photos.")
            folders.add(os.path.dirname(prefix + "x"))
            listed += inside
        elif path in lists:
            listed += read_paths(path)
        else:
            check_file(path, "check the path of the photo")
            listed.append(str(path))
            links |= {str(path)} if path.is_symlink() else set()
    if len(paths) > 1 or lists or links:  # else no photo can be there twice
        listed = each_once(listed, links)
    return PhotoList(listed, folders)


def entries_of(entries: Iterable[os.DirEntry[str]], links: set[str], prefix: str) -> Iterator[str]:
    """The names in a folder that are not hidden; paths of symbolic links are added to `links`."""
    for entry in entries:
        if entry.name[0] != ".":
            if entry.is_symlink():
                links.add(prefix + entry.name)
            yield entry.name


def read_paths(path: Path) -> list[str]:
    """The paths in a text file, or the standard input for `-`: one a line, or ended by NULs.

    Raises InputError if there is none.
    """
    if str(path) == "-":
        data, name = sys.stdin.buffer.read(), "the standard input"
    else:
        check_file(path, "check the path of the list")
        data, name = path.read_bytes(), str(path)
    lines = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).split("\0" if b"\0" in data else "\n")
    found = [str(Path(line)) for line in (line.rstrip("\r\n") for line in lines) if line.strip()]
    if not found:
        raise InputError(f"{name} holds no paths of photos; write one on each line.")
    return found


def each_once(files: list[str], links: set[str]) -> list[str]:
    """The files without those that are there already, maybe by a link or another path."""
    resolved = lru_cache(1000)(os.path.realpath)
    seen = set()
    kept = []
    for file in files:
        folder, name = os.path.split(file)
        own = os.path.realpath(file) if file in links else os.path.join(resolved(folder), name)
        key = hash(os.path.normcase(own))  # takes less memory than the path
        if key not in seen:
            seen.add(key)
            kept.append(file)
    return kept


def reason_to_skip(path: Path) -> str | None:
    """Why a file in a folder is not one of its photos, as part of a sentence; None if it is one."""
    if path.is_dir():
        return "a folder, name it as well"
    if not path.is_file():
        return "a link that leads nowhere" if path.is_symlink() else "no file"
    if not is_picture(path):
        return "not a picture"
    return "a picture that this project drew" if is_own_output(path) else None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of Pillow, such as about metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, or at least is called one."""
    from PIL import Image

    if path.suffix.lower() in (*PHOTO_ENDINGS, *HEIF_ENDINGS, *RAW_ENDINGS):
        return True
    try:
        with quietly(), Image.open(path):
            return True
    except Exception:  # Pillow raises whatever a broken file brings
        return is_heif(path)


def is_heif(path: Path | str) -> bool:
    """Whether a file holds an iPhone's HEIC picture or the like, whatever it is called."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return HEIF.match(file.read(12)) is not None
    return False


def is_own_output(path: Path) -> bool:
    """Whether a file is a picture that this project drew."""
    from PIL import Image

    if path.suffix.lower() != ".png":
        return False
    try:
        with quietly(), Image.open(path) as file:
            return file.info.get("Software") == OWN_OUTPUT["Software"]
    except Exception:  # Pillow raises whatever a broken file brings
        return False


def read_photo(path: Path | str) -> Image.Image:
    """A photo as it is meant to be seen: a PIL RGB picture, upright, on white where transparent.

    Of a file of several pictures it is the first; a printed line says so. Raises InputError if it
    is not a whole picture, or is too large.
    """
    from PIL import Image, UnidentifiedImageError

    heif = is_heif(path)
    if heif:
        try:  # which iPhones write, and which an extra package reads
            importlib.import_module("pillow_heif").register_heif_opener()
        except (ImportError, AttributeError):
            raise InputError(
                f"{path} is a HEIC photo, for which another package is needed: pip install"
                " pillow-heif; or save it as a JPEG."
            ) from None
    try:
        with quietly():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                frames = getattr(file, "n_frames", 1)
                if frames > 1 and file.format != "MPO" and not heif:  # those are previews
                    print(f"{printable(path)} holds {frames} pictures: only the first is used.")
                wide = ";16" in str(getattr(file, "tile", "")) and file.mode in ("RGB", "RGBA")
                file.load()
                photo = in_eight_bits(upright(file))
                if wide and np.asarray(photo)[..., :3].max() < 64:
                    try:  # 12 bits kept in 16, or a very dark one
                        photo = read_wide(path)
                    except Exception:  # of a kind whose bytes are not told apart so
                        print(f"{printable(path)}: only the upper 8 of its 16 bits are read.")
                if "A" in photo.getbands() or "transparency" in photo.info:
                    photo = photo.convert("RGBA")
                    photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
                return photo.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(
            f"{path} has more than {limit} million pixels; shrink the photo first."
        ) from None
    except UnidentifiedImageError:
        kind = "empty or not a picture"
        ending = Path(path).suffix.lower()
        if ending in RAW_ENDINGS:
            kind = f"of a kind ({ending}) that Pillow does not read, not a picture"
        elif ending in (".tif", ".tiff") and Path(path).stat().st_size:
            kind = (
                "of a kind of TIFF that Pillow does not read (such as colours of 32 bits), not one"
            )
        raise InputError(f"{path} is {kind} that can be read; save it as a JPEG or PNG.") from None
    except Exception as error:  # Pillow raises whatever a broken file brings
        raise InputError(
            f"{path} cannot be read as a picture ({one_line(error)}); it may be cut short: copy it"
            " again."
        ) from None


def upright(photo: Image.Image) -> Image.Image:
    """A loaded PIL picture turned as its EXIF note says; as it is where that note is broken."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(photo)
    except Exception:  # as of Pillow 11.0 a single broken entry, which others pass over
        return photo


def in_eight_bits(photo: Image.Image) -> Image.Image:
    """A PIL picture of more than 8 bits per value as one of 8, all its light kept; others as is."""
    from PIL import Image

    return Image.fromarray(eight_bits(np.array(photo))) if photo.mode[0] in "IF" else photo


def read_wide(path: Path | str) -> Image.Image:
    """A colour picture of 16 bits per value, of which Pillow keeps the upper 8, as one of 8 bits.

    Read twice, the second time as if each value's bytes stood in the other order, it is whole.
    Raises whatever Pillow raises.
    """
    from PIL import Image

    def half(other_order: bool) -> np.ndarray:
        with Image.open(path) as file:
            if other_order:
                file.tile = [swap_bytes(tile) for tile in file.tile]
            file.load()
            return np.asarray(upright(file)).astype(np.uint16)

    values = half(False) * 256 + half(True)
    values[..., :3] = eight_bits(values[..., :3])
    values[..., 3:] >>= 8  # what is transparent stays so, however dark it is
    return Image.fromarray(values.astype(np.uint8))


def swap_bytes(tile: Any) -> Any:
    """A tile of a PIL picture of 16 bits whose values' bytes are taken in the other order."""
    own = {"N": sys.byteorder[0].upper()}  # the machine's
    other = {"B": "L", "L": "B"}

    def swapped(mode: Any) -> Any:
        if isinstance(mode, tuple):
            return tuple(map(swapped, mode))
        if not isinstance(mode, str) or ";16" not in mode:
            return mode
        return mode[:-1] + other[own.get(mode[-1], mode[-1])]

    parts = (*tile[:3], swapped(tile[3]))
    return tile._make(parts) if hasattr(tile, "_make") else parts  # plain before Pillow 11


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey or colour values of any range as uint8, of the same shape.

    Fractions are 0 to 1, as floating point pictures have them, or else any range; whole numbers
    fill 8, 10, 12, 14, 16 bits or more: as many as the brightest pixel needs.
    """
    fractions = values.dtype.kind == "f"
    values = values.astype(np.float64)
    values = np.nan_to_num(values, posinf=values[np.isfinite(values)].max(initial=0), neginf=0.0)
    low, high = values.min(), values.max()
    if low < -1e-3:  # such as -1 to 1
        values, white = values - low, high - low
    elif fractions and high < 2**8 and np.quantile(values, 0.98) <= 1 and (values % 1).any():
        white = 1.0  # lamps may be brighter
    else:
        white = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)
    return np.clip(np.rint(values * (255 / white)), 0, 255).astype(np.uint8)
