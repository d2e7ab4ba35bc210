"""Pixel values of photos: any bit depth as 8 bits, any colour space as sRGB."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Pillow's mode for what an ICC profile describes.
PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
SAME = 2  # of 255: a profile that changes no value by more is sRGB under another name
GAMMA = 2.2  # sRGB's, nearly


def to_rgb(photo: Image.Image) -> Image.Image:
    """A loaded PIL picture of 8 bits as RGB, on white where it is transparent.

    Greys and inks are converted to sRGB by their ICC profile, light by the gamma of a PNG. RGB
    values stay as they are, and their profile stays in `info`, for `to_srgb`: the network learned
    from photos read like that. (Converted first, one of the 161 faces of the 41 photos that
    `photo_search.py` searches is missed.) A profile that is broken is ignored.
    """
    profile, gamma = photo.info.get("icc_profile"), photo.info.get("gamma")
    if profile and photo.mode in ("RGB", "RGBA", "P", "PA"):
        plain = _on_white(photo).convert("RGB")
        plain.info["icc_profile"] = profile
        return plain
    if profile:
        with contextlib.suppress(Exception):  # lcms raises whatever a broken profile brings
            return _from_profile(photo, profile)
    elif gamma and "srgb" not in photo.info and abs(gamma * GAMMA - 1) > 0.05:
        light = (np.linspace(0, 1, 256) ** (1 / (gamma * GAMMA)) * 255).round().tolist()
        return _on_white(photo).convert("RGB").point(light * 3)
    return _on_white(photo).convert("RGB")


def to_srgb(photo: Image.Image) -> Image.Image:
    """A picture as from `to_rgb` with its colours converted from its ICC profile (such as Display
    P3) to sRGB: for pictures that people look at. A profile that is broken is ignored."""
    profile = photo.info.get("icc_profile")
    if profile:
        with contextlib.suppress(Exception):  # lcms raises whatever a broken profile brings
            return _from_profile(photo, profile)
    return photo


def _from_profile(photo: Image.Image, profile: bytes) -> Image.Image:
    """The picture converted from its ICC profile to sRGB. Raises whatever ImageCms raises."""
    from PIL import Image, ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = PROFILE_MODES[source.profile.xcolor_space.strip()]
    grey, inks = photo.mode in ("1", "L", "LA"), photo.mode == "CMYK"
    if inks != (mode == "CMYK") or (mode == "L" and not grey):
        raise ValueError("the profile is of another kind of picture")
    convert = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    photo = _on_white(photo).convert(mode)
    if mode != "CMYK":
        steps = np.mgrid[0:256:17, 0:256:17, 0:256:17].reshape(3, -1).T
        probe = Image.fromarray(steps[None].astype(np.uint8)).convert(mode)
        converted = ImageCms.applyTransform(probe, convert)
        changes = np.subtract(converted, probe.convert("RGB"), dtype=int)
        if np.abs(changes).max() <= SAME:
            return photo.convert("RGB")
    return ImageCms.applyTransform(photo, convert)


def _on_white(photo: Image.Image) -> Image.Image:
    """The picture laid on white where it is transparent."""
    from PIL import Image

    if "A" not in photo.getbands() and "transparency" not in photo.info:
        return photo
    photo = photo.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)


def in_eight_bits(photo: Image.Image) -> Image.Image:
    """A grey PIL picture of more than 8 bits per value as one of 8; others as they are."""
    from PIL import Image

    if photo.mode[0] not in "IF":
        return photo
    eight = Image.fromarray(eight_bits(np.array(photo)))
    eight.info = {key: value for key, value in photo.info.items() if key != "transparency"}
    return eight


def brightened(photo: Image.Image) -> Image.Image:
    """A colour picture of 16 bits per value, of which Pillow keeps the upper 8, at full brightness.

    Cameras' 10, 12 or 14 bits leave 2, 4 or 6 of these 8: the light is right, if coarse. A picture
    that needs no brightening is returned as it is.
    """
    high = max(high for _, high in photo.getextrema()[:3])
    bits = next((bits for bits in (2, 4, 6) if high < 2**bits), 8)
    if bits == 8 or not high:
        return photo
    scale = 255 / (2**bits - 1)
    light = [min(255, round(value * scale)) for value in range(256)]
    return photo.point(light * 3 + list(range(256)) * (len(photo.getbands()) - 3))


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of any range as uint8, of the same shape.

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
