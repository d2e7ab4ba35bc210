"""HDR and wide-gamut videos, such as an iPhone's: their colours as usual screens show them.

HLG and PQ are the transfer functions of ITU-R BT.2100. Their light is scaled so that the reference
white of BT.2408, 203 cd/m², is white; what is brighter than most of that is compressed, and what
reaches 1,000 cd/m² is white as well. Colours outside sRGB are clipped.

FFmpeg applies this as one table of colours: its own `tonemap` needs libzimg, which PyAV lacks, and
its `scale` takes seconds to start and leaves such pictures dark or cuts highlights off.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av

PQ, HLG = 16, 18  # FFmpeg's numbers of transfer functions
BT2020, P3 = 9, 12  # and of primaries: those of HDR videos, and Apple's Display P3
UNKNOWN = 2  # what FFmpeg calls a colour property that a file does not name

WHITE, PEAK = 203.0, 1000.0  # cd/m²
KNEE = 0.6  # of white: light above it is compressed
NODES = 33  # per axis of the table: with 17 the error is 0.2 of 255 larger, with 65 as large

# From linear light in these primaries to that in sRGB's (ITU-R BT.2087; Display P3).
TO_SRGB = {
    BT2020: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    P3: [[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0982]],
}
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020's red, green and blue


class ColourConverter:
    """Converts frames of HDR and wide-gamut videos; those of other videos stay as they are."""

    def __init__(self) -> None:
        self.properties: tuple[Any, ...] = ()  # of the frames that the graph takes
        self.graph: Any = None

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame, or an RGB one as large with colours as on a usual screen."""
        transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
        if transfer in (PQ, HLG) and primaries not in TO_SRGB:
            primaries = BT2020
        if transfer not in (PQ, HLG) and primaries not in TO_SRGB:
            return frame
        if frame.colorspace == UNKNOWN and primaries == BT2020:
            frame.colorspace = BT2020  # the matrix that goes with them has the same number
        size = frame.width, frame.height, frame.format.name
        properties = *size, int(frame.colorspace), int(frame.color_range), transfer, primaries
        if properties != self.properties:
            self.properties, self.graph = properties, make_graph(*properties)
        self.graph.push(frame)
        return self.graph.pull()


def make_graph(
    width: int,
    height: int,
    form: str,
    matrix: int,
    value_range: int,
    transfer: int,
    primaries: int,
) -> Any:
    """FFmpeg's filters that apply a table of colours to frames of these properties."""
    import av

    graph = av.filter.Graph()
    source = f"video_size={width}x{height}:pix_fmt={form}:time_base=1/1000"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.cube")
        write_table(table, colour_table(transfer, primaries))
        filters = [
            graph.add("buffer", f"{source}:colorspace={matrix}:range={value_range}"),
            graph.add("format", pix_fmts="gbrp10le"),
            graph.add("lut3d", file=str(table), interp="tetrahedral"),
            graph.add("format", pix_fmts="rgb24"),
            graph.add("buffersink"),
        ]
        for one, next_one in zip(filters, filters[1:], strict=False):
            one.link_to(next_one)
        graph.configure()
    return graph


def write_table(path: Path, table: np.ndarray) -> None:
    """Write a table of colours (N, N, N, 3) as a .cube file: red varies fastest."""
    rows = table.reshape(-1, 3)
    np.savetxt(path, rows, fmt="%.5f", header=f"LUT_3D_SIZE {len(table)}", comments="")


@lru_cache(maxsize=8)
def colour_table(transfer: int, primaries: int) -> np.ndarray:
    """sRGB values 0 .. 1 of all combinations of coded blue, green and red, (N, N, N, 3)."""
    steps = np.linspace(0, 1, NODES)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    light = decode(np.stack([red, green, blue], -1), transfer)
    if transfer in (PQ, HLG):
        light = compress(light)
    return encode_srgb(light @ np.transpose(TO_SRGB[primaries]))


def decode(coded: np.ndarray, transfer: int) -> np.ndarray:
    """Linear light (..., 3), in units of white, from coded red, green and blue 0 .. 1."""
    if transfer == PQ:
        root = coded ** (1 / 78.84375)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return 10_000 * light ** (1 / 0.1593017578125) / WHITE
    if transfer == HLG:
        exponential = (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(coded <= 0.5, coded**2 / 3, exponential)
        # On a display of 1,000 cd/m² the luminance is that of the scene to the power of 1.2.
        luminance = np.maximum(scene @ LUMINANCE, 1e-9)[..., None]
        return PEAK * scene * luminance**0.2 / WHITE
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def compress(light: np.ndarray) -> np.ndarray:
    """Tone mapping: light (..., 3) up to PEAK, in units of white, into 0 .. 1.

    By the largest of red, green and blue, so that hues stay: as it is up to KNEE, above it by an
    extension of Reinhard et al. 2002, https://doi.org/10.1145/566654.566575, with slope 1 there.
    """
    largest = np.maximum(light.max(-1, keepdims=True), 1e-9)
    over = np.maximum(largest - KNEE, 0)
    bend = (1 - (1 - KNEE) / (PEAK / WHITE - KNEE)) / (1 - KNEE)
    return light * np.minimum(largest - over + over / (1 + bend * over), 1) / largest


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light as sRGB values 0 .. 1; clipped."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
