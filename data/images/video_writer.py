"""Writing videos: H.264 in .mp4 files, which everything plays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.images.pyav import import_av

if TYPE_CHECKING:
    import av

TIME_BASE = Fraction(1, 90_000)  # seconds per unit of a written frame's time: MPEG's usual clock
BUFFERED = 4  # frames that wait to be written
HD_HEIGHT = 720  # pixels: from here on players assume BT.709 colours, below it BT.601

# x264's options.
ENCODER = {
    "crf": "20",  # constant rate factor: 18 looks almost like the original, 23 is the default
    "preset": "veryfast",  # twice as fast as its default, for a file about 10 % larger
    "bf": "0",  # no B-frames: the file is 7 % larger, but each frame's time and duration are exact
}

# While it is being written the file consists of fragments, of which those on the disk can be
# played; when it is finished FFmpeg makes it a usual .mp4.
CONTAINER = {"movflags": "hybrid_fragmented", "frag_duration": "1000000", "flush_packets": "1"}


class VideoWriter:
    """Writes a video without sound; encoding has a thread of its own.

    Frames keep their times. H.264 needs even sides: an odd one is extended by one pixel. If the
    process is killed, or the disk is full, what was written until then can be played, except for
    the last second.
    """

    def __init__(
        self, path: Path | str, size: tuple[int, int], rate: float, comment: str = ""
    ) -> None:
        """Start the file for pictures of `size` (width, height), about `rate` frames per second.

        `comment` is stored in the file.
        """
        av = import_av()
        self.container = av.open(str(path), "w", container_options=CONTAINER)
        self.container.metadata["comment"] = comment
        self.frame_duration = 1 / rate
        usual = max(Fraction(rate).limit_denominator(1001), Fraction(1, 1001))
        self.stream = self.container.add_stream("libx264", rate=usual, options=ENCODER)
        self.pad = size[0] % 2, size[1] % 2
        self.stream.width, self.stream.height = size[0] + self.pad[0], size[1] + self.pad[1]
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        context.time_base = TIME_BASE
        small = size[1] < HD_HEIGHT
        if small:  # one thread is enough for small frames, and the network needs the others
            context.thread_count = 1
        # The file names its colour space, so that no player has to guess.
        colours = av.video.reformatter.Colorspace
        self.colours = colours.ITU601 if small else colours.ITU709
        context.colorspace = 6 if small else 1
        context.color_primaries = context.color_trc = context.colorspace
        context.color_range = 1  # 16 to 235, as usual in videos
        self.converter = av.video.reformatter.VideoReformatter()
        self.last = -1
        self.durations: dict[int, int] = {}  # of the frames in the encoder, by their times
        self.thread = ThreadPoolExecutor(1)
        self.waiting: deque[Future[None]] = deque()

    def write(
        self,
        picture: np.ndarray,
        time: float,
        duration: float | None = None,
        draw: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        """Add a uint8 (H, W, 3) picture that is shown at `time` for `duration`, in seconds.

        Only the last frame's duration counts; the others are shown until the next one is. The
        picture must not change afterwards. `draw` is called with a copy of it, in the writer's
        thread, and that copy is added instead.

        Raises OSError if writing fails, for instance on a full disk, perhaps some frames later.
        """
        duration = self.frame_duration if duration is None else duration
        self.waiting.append(self.thread.submit(self._encode, picture, time, duration, draw))
        if len(self.waiting) > BUFFERED:
            self.waiting.popleft().result()

    def _encode(
        self,
        picture: np.ndarray,
        time: float,
        duration: float,
        draw: Callable[[np.ndarray], None] | None,
    ) -> None:
        """Add a picture."""
        import av

        if draw is not None:
            picture = picture.copy()
            draw(picture)
        if any(self.pad):
            picture = np.pad(picture, ((0, self.pad[1]), (0, self.pad[0]), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = self.converter.reformat(frame, format="yuv420p", dst_colorspace=self.colours)
        self.last = max(self.last + 1, round(time / TIME_BASE))
        frame.pts, frame.time_base = self.last, TIME_BASE
        self.durations[self.last] = max(round(duration / TIME_BASE), 1)
        self._mux(frame)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame and write it; with None, flush the encoder."""
        import av

        try:
            for packet in self.stream.encode(frame):
                packet.duration = self.durations.pop(packet.pts or 0, 1)
                self.container.mux(packet)
        except av.error.FFmpegError as error:  # not all of these are OSErrors
            raise OSError(error.errno, error.strerror) from None

    def close(self) -> None:
        """Finish the file. Raises OSError as `write` does; then it stays in fragments."""
        try:
            while self.waiting:
                self.waiting.popleft().result()
            if self.last >= 0:
                self._mux(None)
        finally:
            self.thread.shutdown(cancel_futures=True)
            self._close()

    def _close(self) -> None:
        """Write the index and close the file."""
        import av

        try:
            self.container.close()
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from None
