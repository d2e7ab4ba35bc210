"""data/images/hdr.py: HDR and wide-gamut videos look as the same pictures do without."""

from fractions import Fraction

import numpy as np
import pytest

from data.images import hdr
from data.images.hdr import BT2020, HLG, P3, PQ, UNKNOWN, WHITE
from data.images.videos import VideoReader

av = pytest.importorskip("av", reason="videos need av (PyAV), which is an extra")

BT709 = 1


def linear(picture):
    """Linear light of sRGB values 0 .. 255."""
    values = picture / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def coded(light, transfer):
    """Light in units of the reference white, as BT.2100 codes it: the inverse of `hdr.decode`."""
    if transfer == PQ:
        power = (np.clip(light * WHITE / 10_000, 0, 1)) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    if transfer == HLG:
        shown = light * WHITE / 1000
        luminance = np.maximum(shown @ [0.2627, 0.678, 0.0593], 1e-6)[..., None]
        scene = np.clip(shown * luminance ** (-0.2 / 1.2), 0, 1)
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def write_hdr(path, pictures, transfer, primaries=BT2020, gain=1.0):
    """A 10-bit video of sRGB pictures; their light times `gain`."""
    red, green, blue = (0.2627, 0.678, 0.0593) if primaries == BT2020 else (0.2126, 0.7152, 0.0722)
    matrix = BT2020 if primaries == BT2020 else BT709
    with av.open(str(path), "w") as container:
        options = {"crf": "4", "x265-params": "log-level=none"}
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 1
        context.color_primaries, context.color_trc = primaries, transfer
        for i, picture in enumerate(pictures):
            light = gain * linear(picture) @ np.linalg.inv(hdr.TO_SRGB[primaries]).T
            values = coded(np.clip(light, 0, None), transfer)
            luma = values @ [red, green, blue]
            chroma = [
                (values[..., 2] - luma) / (2 - 2 * blue),
                (values[..., 0] - luma) / (2 - 2 * red),
            ]
            planes = [64 + 876 * luma]
            planes += [512 + 896 * (c[::2, ::2] + c[1::2, 1::2]) / 2 for c in chroma]
            frame = av.VideoFrame(*picture.shape[1::-1], "yuv420p10le")
            for plane, data in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : plane.width] = np.rint(data)
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def colours():
    """A picture of many colours below the knee, in blocks: halved chroma does not matter."""
    steps = np.linspace(0, 195, 6)
    blocks = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(12, 18, 3)
    return blocks.repeat(8, 0).repeat(8, 1).round().astype(np.uint8)


def first_frame(path):
    with VideoReader(path) as video:
        return next(iter(video))


@pytest.mark.parametrize(
    "transfer, primaries", [(PQ, BT2020), (HLG, BT2020), (14, BT2020), (BT709, P3)]
)
def test_a_wide_range_of_light_or_colours_looks_as_usual(transfer, primaries, tmp_path):
    picture = colours()
    path = write_hdr(tmp_path / "hdr.mp4", [picture] * 3, transfer, primaries)
    plain = next(av.open(str(path)).decode(video=0)).to_ndarray(format="rgb24").astype(float)
    frame = first_frame(path)
    middles = np.s_[4::8, 4::8]  # of the blocks
    difference = np.abs(frame.picture[middles].astype(float) - picture[middles])
    assert difference.mean() < 3 and np.percentile(difference, 90) < 10
    assert np.abs(plain[middles] - picture[middles]).mean() > 5  # as it was without conversion
    luma = picture @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(frame.grey[middles], luma[middles], atol=15)
    assert abs(frame.grey.mean() - luma.mean()) < 2


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_are_compressed_and_not_cut_off(transfer, tmp_path):
    """A ramp of grey up to 1,000 cd/m² rises everywhere, and is as it was up to most of white."""
    ramp = np.linspace(0, 255, 320).astype(np.uint8)
    picture = np.repeat(np.tile(ramp, (96, 1))[..., None], 3, -1)
    path = write_hdr(tmp_path / "ramp.mp4", [picture] * 3, transfer, gain=1000 / WHITE)
    found = first_frame(path).picture[48].astype(float)
    assert np.ptp(found, axis=1).max() <= 3  # grey
    smooth = np.convolve(found.mean(1), np.ones(20) / 20, "valid")[::20]
    assert (np.diff(smooth)[:-2] > 0.5).all() and 252 < smooth[-1] <= 255
    light = linear(ramp) * 1000 / WHITE
    assert 225 < found.mean(1)[np.argmin(np.abs(light - 1))] < 240  # white
    below = light < 0.55
    expected = 255 * hdr.encode_srgb(light)
    np.testing.assert_allclose(found.mean(1)[below], expected[below], atol=4)


def test_light_above_the_peak_and_colours_outside_are_clipped():
    table = hdr.colour_table(PQ, BT2020)
    assert table.min() >= 0 and table.max() <= 1
    assert table[-1, -1, -1].min() > 0.999 and table[0, 0, 0].max() < 1e-3
    light = np.array([[0.5, 0.2, 0.1], [0.59, 0.0, 0.0], [1, 1, 1], [4.93, 4.93, 4.93], [50, 0, 0]])
    compressed = hdr.compress(light)
    np.testing.assert_allclose(compressed[:2], light[:2])
    np.testing.assert_allclose(compressed.max(1)[2:], [0.81, 1, 1], atol=2e-3)


def test_untagged_and_usual_videos_are_left_alone(tmp_path):
    frame = av.VideoFrame.from_ndarray(colours(), format="rgb24").reformat(format="yuv420p")
    for primaries in (UNKNOWN, BT709, 5, 6):
        frame.color_primaries = frame.color_trc = primaries
        assert hdr.ColourConverter().convert(frame) is frame
