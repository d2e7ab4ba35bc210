"""Opening videos: files, cameras, addresses such as rtsp://camera/stream, animated pictures."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.images.damage import Numbered
from data.images.pixels import to_rgb
from data.images.pyav import import_av
from data.system.addresses import address_of
from data.system.files import InputError, check_file, why

if TYPE_CHECKING:
    import av
    from PIL import Image

PATIENCE = 10.0  # seconds to wait for an answer from an address
MILLISECOND = Fraction(1, 1000)


def is_camera(source: str) -> bool:
    """Whether a source is the number of a camera."""
    return source.isdecimal()


def origin_of(source: str) -> Path | str:
    """What identifies a video: the path of a file, an address, or `Camera 0`."""
    if is_camera(source):
        return f"Camera {source}"
    return address_of(Path(source)) or Path(source)


def shown(origin: Path | str) -> str:
    """What a video is called in messages: an address without its user's name and password."""
    return re.sub(r"//[^/@]*@", "//", origin) if isinstance(origin, str) else str(origin)


def open_video(origin: Path | str) -> av.container.InputContainer:
    """What PyAV opens. Raises InputError if that fails."""
    if isinstance(origin, Path):
        return open_file(origin)
    if address_of(Path(origin)):
        return open_address(origin)
    return open_camera(int(origin.split()[-1]))


def open_file(path: Path) -> av.container.InputContainer:
    """Open a video file."""
    av = import_av()
    check_file(path, "check the path of the video")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; copy the video again.")
    try:
        # The full path and files only: a colon in a name does not make it an address, and a
        # playlist cannot open anything on the network.
        return av.open(
            str(path.resolve()),
            metadata_errors="ignore",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a video ({why(error)}); it may be cut short or something"
            " else: copy it again."
        ) from None


def open_address(address: str) -> av.container.InputContainer:
    """Open what FFmpeg reads at an address: a stream, or a file on a server."""
    av = import_av()
    # Firewalls stop UDP, by which cameras send otherwise.
    options = {"rtsp_flags": "prefer_tcp"} if address.startswith("rtsp") else {}
    try:
        return av.open(
            address,
            metadata_errors="ignore",
            timeout=PATIENCE,
            container_options=options,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{shown(address)} cannot be opened ({reason(error)}); check the address, and try it in"
            " a player."
        ) from None


def open_camera(number: int) -> av.container.InputContainer:
    """Open a camera."""
    av = import_av()
    try:
        file, form = camera_input(number)
        return av.open(file, format=form)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"Camera {number} cannot be opened ({why(error)}); is it plugged in, free and allowed?"
            " A video file goes by its path."
        ) from None


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


def reason(error: BaseException) -> str:
    """Why FFmpeg failed, as part of a sentence."""
    if type(error).__name__ == "ExitError":  # PyAV ends a wait so
        return f"no answer for {PATIENCE:.0f} seconds"
    return why(error)


def video_stream(container: av.container.InputContainer) -> Any:
    """The first stream with moving pictures; None if there is none."""
    av = import_av()
    # For FFmpeg, the cover picture of a song and a photo are video streams too.
    pictured = getattr(av.stream.Disposition, "attached_pic")  # noqa: B009  mypy knows no member
    if container.format.name.endswith(("image2", "_pipe", "tty")):
        return None
    return next((s for s in container.streams.video if not s.disposition & pictured), None)


def open_animation(origin: Path | str) -> Image.Image | None:
    """An animated picture that Pillow reads and FFmpeg does not: a WebP; None if it is not one."""
    from PIL import Image, UnidentifiedImageError

    if not isinstance(origin, Path):
        return None
    try:
        picture = Image.open(origin)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    if getattr(picture, "n_frames", 1) > 1:
        return picture
    picture.close()
    return None


def animation_frames(picture: Image.Image) -> Iterator[Numbered]:
    """The frames of an animated picture as PyAV's, on white where they are transparent."""
    av = import_av()
    time = 0
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        picture.load()
        frame = av.VideoFrame.from_image(to_rgb(picture))
        duration = round(picture.info.get("duration") or 100)  # browsers take 100 ms for none
        frame.pts, frame.duration, frame.time_base = time, duration, MILLISECOND
        time += duration
        yield Numbered(frame, number, False)
