"""Videos and cameras: reading their frames as a player shows them.

Reading has a thread of its own: FFmpeg works while the network processes other frames.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.images.damage import FrameOrder, Numbered
from data.images.pyav import import_av
from data.system.files import InputError, check_file, why

if TYPE_CHECKING:
    import av

BUFFERED = 4  # frames that are read ahead
COMPLETE = 0.95  # a file that ends before this share of the length in its header is cut short


class Frame(NamedTuple):
    """One frame, upright."""

    picture: np.ndarray  # uint8 (H, W, 3), RGB
    grey: np.ndarray  # uint8 (H, W)
    time: float  # when it is shown: seconds after the first frame
    duration: float  # for how long, in seconds
    number: int  # how many frames of the video are shown before it
    damaged: bool = False  # a part of the picture is not what it was meant to be


def camera_input(number: int) -> tuple[str, str]:
    """FFmpeg's name for the camera of that number on this system: file and format."""
    if sys.platform == "darwin":
        return str(number), "avfoundation"
    if sys.platform != "win32":
        return f"/dev/video{number}", "v4l2"
    cameras = [
        device.name
        for device in import_av().enumerate_input_devices("dshow")
        if "video" in device.media_types
    ]
    if number >= len(cameras):
        raise InputError(f"There is no camera {number}; this computer has {len(cameras)}.")
    return f"video={cameras[number]}", "dshow"


class VideoReader:
    """An open video file or camera; iterating gives its frames, a few in memory at a time.

    Attributes:
        name: the file's name without its ending, or `camera_0`.
        rate: mean frames per second; each frame has its own `time`.
        length: seconds, by the file's header; None for a camera, or if the header does not say.
        count: about how many frames there are, or None if unknown.
        has_sound: whether it has sound, which is not read.
        trouble: after the last frame: what was wrong, as part of a sentence, or None.
        source: its name in messages.
        advice: how to fix the trouble, as part of a sentence.
    """

    def __init__(self, source: str | Path) -> None:
        """Open `source`: a path, or a camera's number. Raises InputError if that fails."""
        av = import_av()
        self.is_camera = str(source).isdecimal()
        self.source, self.advice = str(source), "copy the video again."
        if self.is_camera:
            self.source, self.advice = f"Camera {source}", "is it plugged in, and free?"
        self.trouble: str | None = None
        path = Path(source)
        self.name = f"camera_{source}" if self.is_camera else path.stem
        try:
            if self.is_camera:
                file, form = camera_input(int(str(source)))
                self.container = av.open(file, format=form)
            else:
                if path.is_dir():
                    raise InputError(f"{path} is a folder; give one video.")
                check_file(path, "check the path of the video")
                if not path.stat().st_size:
                    raise InputError(f"{path} is empty; copy the video again.")
                # The full path and files only: a colon in a name does not make it an address, and
                # a playlist cannot open anything on the network.
                self.container = av.open(
                    str(path.resolve()),
                    metadata_errors="ignore",
                    container_options={"protocol_whitelist": "file"},
                )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if self.is_camera:
                raise InputError(
                    f"Camera {source} cannot be opened ({why(error)}); is it plugged in, free"
                    " and allowed? A video file goes by its path."
                ) from None
            raise InputError(
                f"{path} cannot be read as a video ({why(error)}); it may be cut short or"
                " something else: copy it again."
            ) from None
        # For FFmpeg, the cover picture of a song and a photo are video streams too.
        pictured = getattr(av.stream.Disposition, "attached_pic")  # noqa: B009  mypy knows no member
        streams = [s for s in self.container.streams.video if not s.disposition & pictured]
        still = self.container.format.name.endswith(("image2", "_pipe", "tty"))
        if still or not streams:
            self.container.close()
            raise InputError(
                f"{self.source} contains no video; give a video here, and photos by --image."
            )
        self.stream = streams[0]
        # Reading has one thread; more of them would take time from the network and then wait.
        self.stream.codec_context.thread_count = 1
        self.has_sound = bool(self.container.streams.audio)
        self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 30)
        self.length, self.count = None, None
        if not self.is_camera:
            self.length = self._length()
            self.count = self.stream.frames or round((self.length or 0) * self.rate) or None
        self.thread = ThreadPoolExecutor(1)

    def _length(self) -> float | None:
        """Length of the video stream in seconds by the file's header, or None if unknown."""
        whole = self.container.duration / 1e6 if self.container.duration else None
        own = None
        if self.stream.duration and self.stream.time_base:
            own = float(self.stream.duration * self.stream.time_base)
        elif noted := re.fullmatch(
            r"(\d+):(\d+):([\d.]+)", self.stream.metadata.get("DURATION", "")
        ):
            hours, minutes, seconds = map(float, noted.groups())
            own = 3600 * hours + 60 * minutes + seconds
        if own is None:
            return None if self.has_sound else whole
        return min(own, whole or own)  # the stream's own may include what an edit list trims

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown(cancel_futures=True)  # so that no thread reads a closed file
        self.container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order. Raises InputError if none can be read."""
        frames = self._read()
        coming = deque(self.thread.submit(next, frames, None) for _ in range(BUFFERED))
        while (frame := coming.popleft().result()) is not None:
            coming.append(self.thread.submit(next, frames, None))
            yield frame

    def _read(self) -> Iterator[Frame]:
        """The frames, each decoded when it is requested."""
        from av.video.reformatter import VideoReformatter

        # One for all frames: setting one up takes as long as converting a frame.
        to_colour, to_grey = VideoReformatter(), VideoReformatter()
        first, last, end, started = 0.0, 0.0, 0.0, False
        size: dict[str, int] = {}
        for frame, number, damaged in self._decode():
            # A few files lack times, or go back in time: then the frame rate gives the next time.
            time = frame.time
            if started and (time is None or time <= last):
                time = last + 1 / self.rate
            last = time or 0.0
            first = first if started else last
            duration = float((frame.duration or 0) * (frame.time_base or 0)) or 1 / self.rate
            end = last + max(duration, 1 / self.rate)
            started = True
            size = size or self._size(frame)  # later frames are resized to the first one's size
            matrix = display_matrix(frame)
            picture, grey = (
                np.ascontiguousarray(apply_display_matrix(shown.to_ndarray(), matrix))
                for shown in (
                    to_colour.reformat(frame, **size, format="rgb24"),
                    to_grey.reformat(frame, **size, format="gray"),
                )
            )
            yield Frame(picture, grey, last - first, duration, number, damaged)
        if not started:
            raise InputError(f"{self.source} has no frame that can be read; {self.advice}")
        if self.length and end - first < COMPLETE * self.length and not self.trouble:
            self.trouble = f"only {end - first:.1f} of its {self.length:.1f} s can be read"

    def _size(self, frame: av.VideoFrame) -> dict[str, int]:
        """A stored frame's size after resampling to square pixels."""
        shape = float(self.stream.sample_aspect_ratio or 1)
        if not 0.1 < shape < 10:
            shape = 1.0
        width, height = frame.width * max(shape, 1), frame.height / min(shape, 1)
        return {"width": round(width), "height": round(height)}

    def _decode(self) -> Iterator[Numbered]:
        """PyAV's frames; after the last one `trouble` says what is wrong with them."""
        import av

        order = FrameOrder(self.stream.codec_context.name)
        stopped = None
        try:
            for packet in self.container.demux(self.stream):
                try:
                    frames, failed = packet.decode(), False
                except (av.error.InvalidDataError, av.error.BlockingIOError) as error:
                    frames, failed = [], True
                    if isinstance(error, av.error.BlockingIOError):  # it would take no more packets
                        self.stream.codec_context.flush_buffers()
                order.add_packet(packet, failed)
                for frame in frames:
                    yield from order.add_frame(frame)
        except (av.error.FFmpegError, OSError) as error:
            stopped = f"reading it stopped at an error ({why(error)})"
        yield from order.end()
        self.trouble = stopped or order.trouble()


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """The rotation and mirroring that a phone stores with a frame, (2, 2), or None."""
    from av.sidedata.sidedata import Type

    beside: Iterable[Any] = frame.side_data
    noted = next((each for each in beside if each.type == Type.DISPLAYMATRIX), None)
    if noted is None:
        return None
    return np.frombuffer(bytes(noted), np.int32).reshape(3, 3)[:2, :2].T


def apply_display_matrix(picture: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """A picture (H, W, ...) rotated by multiples of 90 degrees and mirrored as the matrix says."""
    if matrix is None:
        return picture
    if abs(matrix[0, 1]) > abs(matrix[0, 0]):  # a quarter turn: rows become columns
        picture, matrix = picture.swapaxes(0, 1), matrix[:, ::-1]
    return picture[:: -1 if matrix[1, 1] < 0 else 1, :: -1 if matrix[0, 0] < 0 else 1]
