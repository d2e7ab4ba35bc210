"""Videos and cameras: reading their frames as a player shows them.

Reading has a thread of its own: FFmpeg works while the network processes other frames.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.images.damage import FrameOrder, Numbered
from data.images.hdr import ColourConverter
from data.images.video_input import (
    animation_frames,
    is_camera,
    open_animation,
    open_video,
    origin_of,
    reason,
    shown,
    video_stream,
)
from data.system.files import InputError

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


class VideoReader:
    """An open video or camera; iterating gives its frames, a few in memory at a time.

    Attributes:
        origin: the path of a file, an address, or `Camera 0`.
        source: its name in messages.
        is_live: it has no end: a camera or a stream.
        rate: mean frames per second; each frame has its own `time`.
        length: seconds, by the file's header; None if it is live or the header does not say.
        count: how many frames there are, by the file's header, or None.
        has_sound: whether it has sound, which is not read.
        trouble: after the last frame: what was wrong, as part of a sentence, or None.
        advice: how to fix the trouble, as part of a sentence.
    """

    def __init__(self, source: str | Path) -> None:
        """Open `source`: a path, an address or a camera's number. Raises InputError if that
        fails."""
        self.origin = origin_of(str(source))
        self.source = shown(self.origin)
        self.trouble: str | None = None
        self.container = open_video(self.origin)
        self.stream, self.animation = video_stream(self.container), None
        self.rate, self.length, self.count = 30.0, None, None
        self.has_sound = bool(self.container.streams.audio)
        if self.stream is None:
            self.animation = open_animation(self.origin)
            if self.animation is None:
                self.container.close()
                raise InputError(
                    f"{self.source} contains no video; give a video here, and photos by --image."
                )
            self.count = getattr(self.animation, "n_frames", None)
        else:
            # Reading has one thread; more of them would take time from the network and then wait.
            self.stream.codec_context.thread_count = 1
            self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 30)
            self.length = self._length()
            self.count = self.stream.frames or None
        self.is_live, self.advice = False, "copy the video again."
        if is_camera(str(source)):
            self.is_live, self.advice = True, "is it plugged in, and free?"
        elif isinstance(self.origin, str):
            self.is_live, self.advice = not self.container.duration, "try it in a player."
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
        if self.animation:
            self.animation.close()

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
        to_colour, to_grey, colours = VideoReformatter(), VideoReformatter(), ColourConverter()
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
            if self.length and self.length > last - first:  # the last frame's may be a guess
                duration = min(duration, self.length - (last - first))
            started = True
            size = size or self._size(frame)  # later frames are resized to the first one's size
            matrix = display_matrix(frame)
            frame = colours.convert(frame)
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
        shape = float(getattr(self.stream, "sample_aspect_ratio", None) or 1)
        if not 0.1 < shape < 10:
            shape = 1.0
        width, height = frame.width * max(shape, 1), frame.height / min(shape, 1)
        return {"width": round(width), "height": round(height)}

    def _decode(self) -> Iterator[Numbered]:
        """PyAV's frames; after the last one `trouble` says what is wrong with them."""
        import av

        if self.animation:
            yield from animation_frames(self.animation)
            return
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
            stopped = f"reading it stopped at an error ({reason(error)})"
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
