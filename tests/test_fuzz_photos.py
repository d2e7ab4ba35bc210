"""Hundreds of broken photos: each is read as a picture of a sane size, or is one sentence."""

import io
import struct
import warnings
from zlib import compress, crc32

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from test_fuzz import damaged, tries

from data.images.photos import is_own_output, is_picture, read_photo
from data.system.files import InputError

SIDE = 24
SHADES = np.add.outer(np.arange(SIDE) * 6, np.arange(SIDE) * 5).astype(np.uint8)
LIMIT = 89_478_485  # pixels, Pillow's


def chunk(kind, data):
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))


def png(width, height, bits, kind, rows):
    """The bytes of a PNG of any header; `rows` are its bytes without compression."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(mode, ending, **options):
    """The bytes of a small picture."""
    if mode in ("I;16", "I", "F"):
        picture = Image.fromarray(SHADES.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    else:
        picture = Image.fromarray(SHADES).convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x112] = 6  # lying on its side
    options |= {"exif": exif} if ending in ("JPEG", "WEBP") else {}
    picture.save(file := io.BytesIO(), ending, **options)
    return file.getvalue()


WHOLE = {
    **{f"{mode}.png": saved(mode, "PNG") for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I;16")},
    **{f"{mode}.jpg": saved(mode, "JPEG") for mode in ("L", "RGB", "CMYK")},
    **{f"{mode}.tif": saved(mode, "TIFF") for mode in ("L", "RGB", "CMYK", "I;16", "I", "F", "1")},
    "packed.tif": saved("RGB", "TIFF", compression="tiff_lzw"),
    "RGB.bmp": saved("RGB", "BMP"),
    "P.gif": saved("P", "GIF"),
    "RGB.webp": saved("RGB", "WEBP"),
    "two.gif": saved("P", "GIF", save_all=True, append_images=[Image.new("P", (SIDE, SIDE))]),
    "wide.png": png(SIDE, SIDE, 16, 2, (b"\0" + bytes(range(6)) * SIDE) * SIDE),
}
HUGE = [0, 1, SIDE, 9459, 9460, 2**16, 2**31 - 1, 2**32 - 1]  # 9459 squared is within the limit


def check(path, content):
    """What is read is a picture of a sane size; what is not is one sentence. True if it was."""
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the terminal shows none either
            assert is_picture(path) in (True, False) and is_own_output(path) is False
            photo = read_photo(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(str(path)) and message.endswith(".") and "\n" not in message
        return False
    values = np.array(photo)
    assert photo.mode == "RGB" and values.dtype == np.uint8
    assert values.shape == (*photo.size[::-1], 3) and 0 < values.size <= 3 * LIMIT
    return True


@pytest.mark.parametrize("name", WHOLE)
def test_whole_photos_are_read(name, tmp_path):
    assert check(tmp_path / name, WHOLE[name])


@tries(300)
@given(data=st.data())
@example(data=None)
def test_damaged_photos(tmp_path, data):
    """Bits flipped, pieces cut, put in, repeated, also under another format's ending."""
    if data is None:
        check(tmp_path / "empty.png", b"")
        return
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    ending = data.draw(st.sampled_from([name, name, "p.jpg", "p.tif", "p.heic", "p.cr2", "p"]))
    check(tmp_path / ending, data.draw(damaged(WHOLE[name])))


@tries(100)
@given(
    size=st.tuples(st.sampled_from(HUGE), st.sampled_from(HUGE)),
    bits=st.sampled_from([0, 1, 2, 4, 8, 16, 32]),
    kind=st.integers(0, 7),
    rows=st.sampled_from([b"", b"\0" * 99, b"\0" + bytes(range(6)) * SIDE]),
)
def test_headers_that_promise_anything(tmp_path, size, bits, kind, rows):
    """A picture larger than the limit is refused before memory is taken for it."""
    content = png(*size, bits, kind, rows)
    assert not check(tmp_path / "p.png", content) or np.prod(size, dtype=float) <= LIMIT
