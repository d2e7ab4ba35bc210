"""`--crops`: the files of aligned crops. Each says which photo or video it was cut from."""

from __future__ import annotations

import hashlib
import re
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from data.images.aligned_crops import cut_aligned
from data.system.files import replace_file

SOURCE = "Source"  # the key of the text in a PNG that identifies what it was made from


def source_id(source: Path | str) -> str:
    """What identifies a photo, video or camera: a digest of its full path or its name."""
    where = source.resolve() if isinstance(source, Path) else source
    return hashlib.sha256(str(where).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def read_png_text(path: Path) -> dict[str, Any]:
    """The text in a PNG, as Pillow's `info`; empty where it is not a PNG or damaged."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            return dict(file.info)
    except Exception:  # Pillow raises a dozen kinds for broken files
        return {}


def png_text(**text: str) -> Any:
    """Text for Pillow to write into a PNG."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    return info


class CropFiles:
    """Writes the aligned crops of one photo or video into a folder.

    Those of an earlier run on the same photo or video that this run does not write are removed;
    files made from anything else stay. A photo's crops are called <stem>_<face>.png, a video's
    <stem>_face<face>_frame<frame>.png: no two of these can be the same.
    """

    def __init__(
        self, folder: Path, stem: str, source: Path | str, size: int, is_video: bool = False
    ) -> None:
        """`stem`: how the names begin, if no other source has crops of that name; `size`: side of
        the crops in pixels."""
        self.folder, self.stem, self.source, self.size = folder, stem, source_id(source), size
        self.is_video, self.written = is_video, set[Path]()
        if any(self._source(path) not in (None, self.source) for path in self._existing()):
            self.stem = f"{stem}_{self.source[:8]}"

    def write(
        self, picture: np.ndarray, affine: np.ndarray, face: int, frame: int | None = None
    ) -> None:
        """Write the crop of a face, by its affine (2, 3), of a photo or video frame (H, W, 3)."""
        from PIL import Image

        ending = f"_face{face}_frame{frame}.png" if self.is_video else f"_{face}.png"
        path = self.folder / f"{self.stem}{ending}"
        crop = Image.fromarray(cut_aligned(picture, affine, self.size))
        info = png_text(**{SOURCE: self.source})
        replace_file(path, lambda file: crop.save(file, pnginfo=info))
        self.written.add(path)

    def remove_earlier(self) -> None:
        """Remove the crops of an earlier run that this run did not write."""
        for path in self._existing():
            if path not in self.written and self._source(path) == self.source:
                path.unlink()

    def _source(self, path: Path) -> str | None:
        """What a crop was made from; None where it does not say, as an earlier version's."""
        return read_png_text(path).get(SOURCE)

    def _existing(self) -> list[Path]:
        """The files that are called like crops of this photo or video."""
        if self.is_video:
            name = re.compile(re.escape(self.stem) + r"_face\d+_frame\d+\.png")
            files = self.folder.iterdir() if self.folder.is_dir() else ()
            return [path for path in files if name.fullmatch(path.name)]
        numbered = (self.folder / f"{self.stem}_{face}.png" for face in count(1))
        return list(takewhile(Path.exists, numbered))
