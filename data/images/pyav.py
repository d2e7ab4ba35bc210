"""PyAV (`pip install av`, an extra), whose wheel contains FFmpeg: it reads and writes videos.

It was chosen over imageio-ffmpeg, which starts FFmpeg as another program: PyAV gives each frame's
time and rotation, opens cameras, and is half as large.
"""

from __future__ import annotations

from typing import Any

from data.system.files import InputError

OLDEST_AV = 17  # PyAV 14 does not give a frame's rotation, 16 changes the colours of HD videos


def import_av() -> Any:
    """PyAV, which only videos need. Raises InputError if it is missing or too old."""
    try:
        import av
    except ImportError:
        raise InputError(
            "--video needs PyAV, which reads and writes videos; install it with: pip install av"
        ) from None
    if int(av.__version__.split(".")[0]) < OLDEST_AV:
        raise InputError(
            f"--video needs PyAV {OLDEST_AV} or newer, not {av.__version__}; install it with:"
            f" pip install 'av>={OLDEST_AV}'"
        )
    av.logging.set_level(av.logging.PANIC)  # no messages of FFmpeg's own; errors are exceptions
    return av
