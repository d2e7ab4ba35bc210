"""data/images/pixels.py: colours and light of photos, whatever their files say."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from data.images.photos import read_photo
from data.images.pixels import to_srgb

# XYZ of the primaries, adapted to D50, as the profiles of these names have them; columns r g b.
PRIMARIES = {
    "sRGB": [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]],
    "Display P3": [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]],
    "Adobe RGB": [[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]],
}
STEPS = np.mgrid[0:256:51, 0:256:51, 0:256:51].reshape(3, 18, 12).transpose(1, 2, 0)
COLOURS = STEPS.astype(np.uint8)  # (18, 12, 3): a cube of colours
GREYS = np.linspace(0, 255, 18 * 12).reshape(18, 12).astype(np.uint8)


def fixed(*values):
    """Numbers as an ICC profile has them, s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc_profile(space, tags, kind=b"mntr", pcs=b"XYZ "):
    """The bytes of an ICC profile, version 2.1; tags: name -> content."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)} | tags
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02100000, kind, space, pcs, b"acsp")
    head += fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma_curve(gamma):
    """A tone curve of an ICC profile."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(name, gamma=2.2):
    """The profile of an RGB colour space with a plain gamma."""
    columns = zip("rgb", np.transpose(PRIMARIES[name]), strict=True)
    tags = {f"{c}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*xyz) for c, xyz in columns}
    return icc_profile(b"RGB ", tags | {f"{c}TRC".encode(): gamma_curve(gamma) for c in "rgb"})


def inks_profile(lab_of_inks):
    """A CMYK profile: `lab_of_inks` (16, 3) of no ink to all four, the last changing fastest."""
    lab = np.asarray(lab_of_inks, float) * [2.55, 1, 1] + [0, 128, 128]
    line = bytes(range(256))
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + line * 4
    table += lab.round().astype(np.uint8).tobytes() + line * 3
    return icc_profile(b"CMYK", {b"A2B0": table}, b"prtr", b"Lab ")


def encoded(linear, gamma=2.2):
    """Linear light 0 .. 1 as uint8."""
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / gamma)).astype(np.uint8)


def srgb_light(values):
    """uint8 sRGB values as linear light."""
    values = values / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def off(path, expected):
    """By how many grey values a photo is shown wrong at most."""
    return np.abs(np.array(to_srgb(read_photo(path))).astype(int) - expected).max()


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_a_photo_in_another_colour_space_is_its_srgb_original(name, ending, tmp_path):
    to_other = np.linalg.inv(PRIMARIES[name]) @ PRIMARIES["sRGB"]
    muted = COLOURS // 2 + 60 if name == "Display P3" else COLOURS // 3 + 90  # both can show these
    values = encoded(srgb_light(muted) @ to_other.T)
    path = tmp_path / f"p.{ending}"
    exact = {"quality": 100, "subsampling": 0} if ending == "jpg" else {"lossless": True}
    Image.fromarray(values).save(path, icc_profile=rgb_profile(name), **exact)
    assert np.abs(values.astype(int) - muted).max() > 8  # read as sRGB it would be dull
    assert off(path, muted) <= (5 if ending == "jpg" else 2)


def test_the_network_is_shown_the_values_in_the_file(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(COLOURS).save(path, icc_profile=rgb_profile("Display P3"))
    np.testing.assert_array_equal(np.array(read_photo(path)), COLOURS)
    assert off(path, COLOURS) > 20


def test_srgb_under_whatever_name_is_left_as_it_is(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(COLOURS).save(tmp_path / "p.png", icc_profile=own)
    assert off(tmp_path / "p.png", COLOURS) == 0


def test_grey_with_a_gamma_is_brightened(tmp_path):
    """By an ICC profile, of 8 and of 16 bits, and by a PNG's own note."""
    light = GREYS / 255
    expected = encoded(light)[..., None]
    linear = icc_profile(b"GRAY", {b"kTRC": gamma_curve(1.0)})
    Image.fromarray(GREYS).save(tmp_path / "8.jpg", icc_profile=linear, quality=100)
    Image.fromarray(GREYS.astype(np.uint16) * 257).save(tmp_path / "16.png", icc_profile=linear)
    bright = np.broadcast_to(GREYS[..., None] > 25, (18, 12, 3))  # sRGB's own curve ends below
    for name in ("8.jpg", "16.png"):
        read = np.array(read_photo(tmp_path / name)).astype(int)
        assert np.abs(read - expected)[bright].max() <= 4
    note = PngInfo()
    note.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(GREYS).save(tmp_path / "note.png", pnginfo=note)
    assert off(tmp_path / "note.png", expected) <= 1
    note = PngInfo()
    note.add(b"gAMA", struct.pack(">I", 45_455))  # what sRGB is
    Image.fromarray(GREYS).save(tmp_path / "usual.png", pnginfo=note)
    assert off(tmp_path / "usual.png", GREYS[..., None]) == 0


def test_grey_is_the_brightness_of_the_colours(tmp_path):
    """Also where a JPEG's brightness alone is decoded: turned, of any profile, of any mode."""
    clouds = np.random.default_rng(0).integers(60, 200, (6, 4, 3), np.uint8)
    colour = Image.fromarray(clouds).resize((40, 60), Image.Resampling.BICUBIC)
    linear = icc_profile(b"GRAY", {b"kTRC": gamma_curve(1.0)})
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "colour.jpg": (colour, {}),
        "turned.jpg": (colour, {"exif": turned}),
        "p3.jpg": (colour, {"icc_profile": rgb_profile("Display P3")}),
        "grey.jpg": (colour.convert("L"), {"icc_profile": linear}),
        "inks.jpg": (colour.convert("CMYK"), {}),
        "glass.png": (colour.convert("RGBA"), {}),
        "few.gif": (colour.convert("P"), {}),
        "colour.webp": (colour, {"lossless": True}),
    }
    for name, (picture, options) in kinds.items():
        picture.save(tmp_path / name, **options)
        grey, colours = read_photo(tmp_path / name, grey=True), read_photo(tmp_path / name)
        assert grey.mode == "L" and grey.size == colours.size
        away = np.abs(np.asarray(grey, int) - np.asarray(colours.convert("L"))).max()
        assert away <= (2 if name in ("colour.jpg", "turned.jpg", "p3.jpg") else 0), name


def test_inks_are_those_of_their_profile(tmp_path):
    """Here the first ink is red, unlike cyan, and the last one grey."""
    red, grey, white, black = (50, 70, 50), (50, 0, 0), (100, 0, 0), (0, 0, 0)
    lab = [white, grey] + [black] * 6 + [red] + [black] * 7
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255
    inks[:, 16:, 3] = 255
    photo = Image.fromarray(inks, "CMYK")
    for name, options in (("p.tif", {}), ("p.jpg", {"quality": 100})):
        photo.save(tmp_path / name, icc_profile=inks_profile(lab), **options)
        read = np.array(read_photo(tmp_path / name)).astype(int)
        assert read[8, 8, 0] > 180 and read[8, 8, 1:].max() < 100
        assert np.abs(read[8, 24] - 119).max() < 8  # L* 50
    photo.save(tmp_path / "plain.jpg", quality=100)  # without a profile the first ink is cyan
    plain = np.array(read_photo(tmp_path / "plain.jpg"))
    assert plain[8, 8, 0] < 20 and plain[8, 8, 1:].min() > 230


def test_colours_on_glass_are_converted_too(tmp_path):
    rgba = np.dstack([COLOURS, np.full(COLOURS.shape[:2], 255, np.uint8)])
    rgba[:, 6:, 3] = 0
    profile = rgb_profile("Display P3")
    Image.fromarray(COLOURS).save(tmp_path / "opaque.png", icc_profile=profile)
    Image.fromarray(rgba).save(tmp_path / "glass.png", icc_profile=profile)
    photos = (to_srgb(read_photo(tmp_path / f"{n}.png")) for n in ("opaque", "glass"))
    opaque, glass = map(np.array, photos)
    np.testing.assert_array_equal(opaque[:, :6], glass[:, :6])
    assert (glass[:, 6:] == 255).all()
    assert np.abs(opaque.astype(int) - COLOURS).max() > 20


WHOLE = rgb_profile("Display P3")
BROKEN = {
    "not a profile": b"hello",
    "cut short": WHOLE[:200],
    "of inks": inks_profile([(50, 0, 0)] * 16),
    "of grey": icc_profile(b"GRAY", {b"kTRC": gamma_curve(1.0)}),
    "without primaries": icc_profile(b"RGB ", {}),
    "of nothing": icc_profile(b"????", {}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_profile_that_cannot_be_used_harms_nothing(case, tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "p.png", icc_profile=BROKEN[case])
    assert off(tmp_path / "p.png", COLOURS) == 0


def test_any_damage_to_a_profile_leaves_a_picture(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(60):
        profile = bytearray(WHOLE)
        for place in rng.integers(len(profile), size=rng.integers(1, 9)):
            profile[place] = rng.integers(256)
        file = io.BytesIO()
        Image.fromarray(COLOURS).save(file, "PNG", icc_profile=bytes(profile))
        (tmp_path / "p.png").write_bytes(file.getvalue())
        assert to_srgb(read_photo(tmp_path / "p.png")).size == (12, 18)
