"""Photos: listing them, telling what a file is, reading them upright and with a size limit."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from data.images.pixels import brightened, in_eight_bits, to_rgb
from data.system.files import InputError, check_file, one_line, printable
from data.system.paths import Paths, compressed, each_once, expanded, read_paths, sorted_paths

if TYPE_CHECKING:
    from PIL import Image

# The text in this project's own pictures, so that nobody takes them for photos.
OWN_OUTPUT = {"Software": "face_key_points"}

# Endings of files in a folder that should be pictures: one that cannot be read is reported.
PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")

# Kinds of files that Pillow does not read by itself: what they begin with or are called.
HEIF = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
HEIF_ENDINGS = (".heic", ".heif", ".hif")
RAW_ENDINGS = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".jxl", ".psd")
VIDEO = re.compile(
    rb"\x00...(ftyp(?!hei|hev|mif1|msf1|avi[fs]|crx)|moov|mdat|wide)|\x1aE\xdf\xa3|RIFF....AVI "
    rb"|FLV\x01|\x00\x00\x01[\xb3\xba]|0&\xb2u",
    re.DOTALL,
)
VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".mts", ".m2ts", ".ts", ".wmv", ".flv", ".3gp", ".ogv"),
)

COARSE = (
    "{} has fewer than 16 bits per colour, kept in 16: only the upper few are read, so its colours"
    " are coarse; if faces are missed, save it with 8 bits per colour."
)


class PhotoList:
    """Paths of photos, in order; `list_photos` makes one.

    Whether a file in a folder is a picture is checked while the list is iterated, some ahead, so
    that a folder of a million photos is begun within seconds. What is skipped is printed.
    """

    def __init__(self, listed: Paths, folders: set[str]) -> None:
        """`listed`: files, one at least; those in `folders` are checked."""
        self.listed, self._folders = listed, folders
        self._count = sum(1 for _ in listed)
        self._checked = 0  # blocks
        self._check()

    def __len__(self) -> int:
        """How many photos there are, as far as they are checked."""
        return self._count

    def __iter__(self) -> Iterator[Path]:
        for number in range(len(self.listed.blocks)):
            if number == self._checked:
                self._check()
            yield from map(Path, expanded(self.listed.blocks[number]))

    def _check(self) -> None:
        """Leave what is not a picture out of the next block."""
        files = expanded(self.listed.blocks[self._checked])
        kept = [file for file in files if not self._skips(file)]
        self.listed.blocks[self._checked] = compressed(kept)
        self._count -= len(files) - len(kept)
        self._checked += 1

    def _skips(self, file: str) -> bool:
        reason = os.path.dirname(file) in self._folders and reason_to_skip(Path(file))
        if reason:
            print(f"{printable(file)} is {reason}: skipped.")
        return bool(reason)


def list_photos(paths: Iterable[Path]) -> PhotoList:
    """The photos to look at, each once: `paths`, and in place of a folder the files in it, by name.

    In place of a text file (.txt), or of `-` for the standard input, stand the paths in it, one a
    line; they may be addresses, such as s3://bucket/photo.jpg. What is left out of a folder is
    printed, this project's own pictures as well. Raises InputError if a path does not exist or is
    no file, or a folder has no pictures.
    """
    sources: list[Iterable[str]] = []
    folders: set[str] = set()
    links: set[str] = set()
    paths = list(paths)
    lists = [path for path in paths if str(path) == "-" or path.suffix.lower() == ".txt"]
    for path in paths:
        if path.is_dir():
            prefix = str(path / "x")[:-1]
            with os.scandir(path) as entries:
                inside = Paths(sorted_paths(paths_in(entries, prefix, links)))
            reasons = map(reason_to_skip, map(Path, inside))
            if all(reasons):
                for file in inside:
                    print(f"{printable(file)} is {reason_to_skip(Path(file))}: skipped.")
                raise InputError(f"{path} is a folder without pictures; give one with photos.")
            folders.add(os.path.dirname(prefix + "x"))
            sources.append(inside)
        elif path in lists:
            sources.append(read_paths(path))
        else:
            check_file(path, "check the path of the photo")
            sources.append([str(path)])
            links |= {str(path)} if path.is_symlink() else set()
    listed = Paths(chain.from_iterable(sources))
    if len(paths) > 1 or lists or links:  # else no photo can be there twice
        listed = Paths(each_once(listed, links))
    return PhotoList(listed, folders)


def paths_in(entries: Iterable[os.DirEntry[str]], prefix: str, links: set[str]) -> Iterator[str]:
    """The paths in a folder that are not hidden; symbolic links are added to `links`."""
    for entry in entries:
        if entry.name[0] != ".":
            if entry.is_symlink():
                links.add(prefix + entry.name)
            yield prefix + entry.name


def reason_to_skip(file: Path) -> str | None:
    """Why a file in a folder is not a photo, as part of a sentence; None if it is one."""
    if file.is_dir():
        return "a folder, name it as well"
    if not file.is_file():
        return "a link that leads nowhere" if file.is_symlink() else "no file"
    if is_own_output(file):
        return "a picture that this project drew"
    if is_video(file):
        return "a video, give it to --video"
    return None if is_picture(file) else "not a picture"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without Pillow's warnings, such as those about metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, or at least is named like one."""
    from PIL import Image

    if path.suffix.lower() in (*PHOTO_ENDINGS, *HEIF_ENDINGS, *RAW_ENDINGS):
        return True
    try:
        with quietly(), Image.open(path):
            return True
    except Exception:  # Pillow raises whatever a broken file brings
        return is_heif(path)


def is_heif(path: Path | str) -> bool:
    """Whether a file contains an iPhone's HEIC picture or the like, whatever its name."""
    return HEIF.match(first_bytes(path)) is not None


def is_video(path: Path | str) -> bool:
    """Whether a file is a video, by its first bytes or its name."""
    known = VIDEO.match(first_bytes(path)) is not None
    return known or Path(path).suffix.lower() in VIDEO_ENDINGS


def first_bytes(path: Path | str) -> bytes:
    """The first 16 bytes of a file; none if it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(16)
    return b""


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


def read_photo(path: Path | str, grey: bool = False) -> Image.Image:
    """Read a photo as it should be seen.

    Of a file with several pictures the first is used; a printed line says so.

    Args:
        path: the file.
        grey: only the brightness is wanted; of a JPEG nothing else is decoded, in half the time.

    Returns:
        A PIL picture: RGB, or L if `grey`, 8 bits, upright, on white where it is transparent;
        `to_srgb` converts its colours if `info` has an ICC profile.

    Raises:
        InputError: it is not a whole picture, is too large, or needs a package that is missing.
    """
    from PIL import Image, UnidentifiedImageError

    if is_heif(path):
        register_heif(path)
    try:
        with quietly():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                say_if_several(path, file)
                colours = file.mode
                if grey:
                    file.draft("L", file.size)
                light_only = file.mode != colours
                deep = ";16" in str(getattr(file, "tile", "")) and file.mode in ("RGB", "RGBA")
                file.load()
                if light_only:
                    return upright(file)
                photo = brightened(file) if deep else in_eight_bits(file)
                if deep and photo is not file:
                    print(COARSE.format(printable(path)))
                photo = to_rgb(upright(photo))
                return photo.convert("L") if grey else photo
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(
            f"{path} has more than {limit} million pixels; shrink the photo first."
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is {kind_of(Path(path))}.") from None
    except Exception as error:  # Pillow raises whatever a broken file brings
        raise InputError(
            f"{path} cannot be read as a picture ({one_line(error)}); it may be cut short: copy it"
            " again."
        ) from None


def register_heif(path: Path | str) -> None:
    """Have Pillow read HEIC photos, which iPhones take. Raises InputError without the package."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except (ImportError, AttributeError):
        raise InputError(
            f"{path} is a HEIC photo, for which another package is needed: pip install"
            " pillow-heif; or save it as a JPEG."
        ) from None


def say_if_several(path: Path | str, file: Image.Image) -> None:
    """Print a line if an open file holds several pictures, not only previews of the first."""
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format not in ("MPO", "HEIF"):
        print(f"{printable(path)} holds {frames} pictures: only the first is used.")


def kind_of(path: Path) -> str:
    """What a file that Pillow does not know is, and what to do, as part of a sentence."""
    ending = path.suffix.lower()
    if is_video(path):
        return "a video, not a photo; give it to --video"
    if ending == ".csv":
        return "a table, not a photo; test faces in a CSV go to --data"
    kind = "empty or not a picture"
    if ending in RAW_ENDINGS:
        kind = f"of a kind ({ending}) that Pillow does not read, not a picture"
    elif ending in (".tif", ".tiff") and path.stat().st_size:
        kind = "of a kind of TIFF that Pillow does not read (such as colours of 32 bits), not one"
    return f"{kind} that can be read; save it as a JPEG or PNG"


def upright(photo: Image.Image) -> Image.Image:
    """A loaded PIL picture turned as its EXIF note says; as it is where that note is broken."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(photo)
    except Exception:  # as of Pillow 11.0 a single broken entry, which others pass over
        return photo
