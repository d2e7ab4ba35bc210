"""Damaged videos: which frames are not to be trusted, and what number the others have."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av

# Codecs in which each packet gives a frame, and how many packets in a row that give none are a sign
# of damage: two that are the fields of one frame are not. In other codecs a packet may only repeat
# the frame before.
FRAME_PER_PACKET = {"h264": 3, "hevc": 3, "vp9": 1, "av1": 1}
B_FRAME = 3  # FFmpeg's AV_PICTURE_TYPE_B
HEALED = 300  # frames after which damage is over in a video without key frames


class Numbered(NamedTuple):
    """A frame in the order in which it is shown."""

    frame: av.VideoFrame
    number: int  # how many frames of the video are shown before it
    damaged: bool


class FrameOrder:
    """Numbers the frames of a video, with those that cannot be decoded, and finds damaged ones.

    FFmpeg marks a frame of which it could decode only a part. Frames that refer to it are as wrong,
    without a mark: those after it up to the next key frame, and B-frames just before it.
    """

    def __init__(self, codec: str) -> None:
        """`codec`: FFmpeg's name of it."""
        self.sign = FRAME_PER_PACKET.get(codec)
        self.expected: list[int] = []  # times of packets whose frames have not come: a heap
        self.failed: set[int] = set()  # times of packets that could not be decoded
        self.number = 0  # of the next frame
        self.missing = self.damaged = 0
        self.wrong_until = -1  # the number of the last frame that may refer to a damaged one
        self.started = self.any_damage = False
        self.held: list[Numbered] = []  # B-frames, until the frame after them is known

    def add_packet(self, packet: av.Packet, failed: bool) -> None:
        """Note a packet that was given to the decoder; `failed`: it could not be decoded."""
        self.any_damage = self.any_damage or failed
        if packet.is_discard or not packet.size:
            return
        if packet.pts is None:
            self._skip(int(failed))
        elif failed or self.sign:
            heappush(self.expected, packet.pts)
            self.failed |= {packet.pts} if failed else set()

    def add_frame(self, frame: av.VideoFrame) -> list[Numbered]:
        """The frames that are known to be shown next, now that `frame` has come."""
        missing = self._missing_before(frame.pts)
        corrupt = frame.is_corrupt or frame.pts in self.failed
        self._skip(missing)
        if corrupt:
            self._doubt()
        if frame.pict_type == B_FRAME:
            self.held.append(self._next(frame))
            return []
        ready = self.held
        if missing or self._doubted():  # which these B-frames may refer to
            ready = [each._replace(damaged=True) for each in ready]
        if frame.key_frame and not corrupt:
            self.wrong_until = -1
        self.held = []
        return self._count([*ready, self._next(frame)])

    def end(self) -> list[Numbered]:
        """The frames that are left after the last packet."""
        ready, self.held = self.held, []
        missing = len(set(self.expected))
        if self.any_damage or (self.sign and missing >= self.sign):
            self._skip(missing)
        return self._count(ready)

    def trouble(self) -> str | None:
        """What is wrong with the video, as part of a sentence."""
        kinds = {"damaged": self.damaged, "missing": self.missing}
        found = [f"{count} are {kind}" for kind, count in kinds.items() if count]
        return f"of its {self.number} frames, {' and '.join(found)}" if found else None

    def _missing_before(self, time: int | None) -> int:
        """How many frames should have come before one of that time; forgets about them."""
        times = set()
        while time is not None and self.expected and self.expected[0] <= time:
            times.add(heappop(self.expected))
        if self.sign and time not in times:  # the frames' times are not their packets'
            return 0
        missing = len(times - {time})
        started, self.started = self.started, True
        if not started:  # what comes before the first key frame is not shown
            return 0
        return missing if self.any_damage or (self.sign and missing >= self.sign) else 0

    def _skip(self, missing: int) -> None:
        """Count frames that are missing: the next ones may refer to them."""
        self.number += missing
        self.missing += missing
        if missing:
            self._doubt()

    def _doubt(self) -> None:
        """From here on frames may refer to a damaged one."""
        self.any_damage, self.wrong_until = True, self.number + HEALED

    def _doubted(self) -> bool:
        """Whether the next frame may refer to a damaged one."""
        return self.number <= self.wrong_until

    def _next(self, frame: av.VideoFrame) -> Numbered:
        """The frame with the next number."""
        made = Numbered(frame, self.number, self._doubted())
        self.number += 1
        return made

    def _count(self, frames: list[Numbered]) -> list[Numbered]:
        """The frames; counts the damaged ones."""
        self.damaged += sum(each.damaged for each in frames)
        return frames
