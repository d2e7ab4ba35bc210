"""Listing videos: files, folders of them, addresses and cameras."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from data.images.photos import is_video
from data.images.pyav import import_av
from data.images.video_input import is_camera, origin_of
from data.system.files import InputError, check_file, printable
from data.system.paths import each_once, read_paths

OWN_FILM = "face_key_points"  # how the comment in this project's own videos begins


def list_videos(sources: Sequence[str]) -> list[str]:
    """The videos to process, each once: `sources`, and in place of a folder the videos in it.

    In place of a text file (.txt), or of `-` for the standard input, stand the paths in it, one a
    line. Raises InputError if a path does not exist or is no file, or a folder has no videos.
    """
    listed: list[str] = []
    for source in sources:
        path = Path(source)
        if not source.strip():
            raise InputError("A name of --video is empty; give the path of a video.")
        if is_camera(source):
            if len(sources) > 1:
                raise InputError(f"Camera {source} never ends; give it without other videos.")
            listed.append(source)
        elif isinstance(origin_of(source), str):
            listed.append(source)
        elif path.is_dir():
            listed += videos_in(path)
        elif source == "-" or path.suffix.lower() == ".txt":
            listed += read_paths(path)
        else:
            check_file(path, "check the path of the video")
            listed.append(source)
    links = {source for source in listed if Path(source).is_symlink()}
    return list(each_once(listed, links))


def videos_in(folder: Path) -> list[str]:
    """The videos in a folder, by name; what is left out is printed."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    videos = [path for path in files if is_video(path) and not is_own_film(path)]
    if not videos:
        raise InputError(f"{folder} is a folder without videos; give one with videos.")
    if skipped := len(files) - len(videos):
        print(f"{printable(folder)}: {skipped} other file(s) are skipped.", flush=True)
    return sorted(map(str, videos), key=os.path.normcase)


def is_own_film(path: Path) -> bool:
    """Whether a video is an annotated one that this project wrote."""
    if path.name.endswith("_key_points.mp4") and path.with_suffix(".csv").exists():
        return True  # earlier versions wrote no comment
    return film_comment(path).startswith(OWN_FILM)


def film_comment(path: Path) -> str:
    """The comment in a video file; empty if there is none or the file is damaged."""
    av = import_av()
    try:
        with av.open(str(path.resolve()), container_options={"protocol_whitelist": "file"}) as film:
            return film.metadata.get("comment", "")
    except (av.error.FFmpegError, OSError, ValueError):
        return ""
