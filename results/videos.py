"""`--video`: annotated videos, and a table of each one's faces and key points."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from data.images.aligned_crops import MATRIX_COLUMNS, check_names, matrix_fields
from data.images.video_input import is_camera, origin_of, shown
from data.images.video_list import OWN_FILM, film_comment, list_videos
from data.images.video_writer import VideoWriter
from data.images.videos import Frame, VideoReader
from data.key_points import output_columns, three_decimals
from data.system.files import InputError, make_folder, printable, why
from data.system.progress import progress_bar
from data.system.signals import GentleStop
from models.choose import load_for_photos
from models.detect.search import Detections
from models.spread import face_spread
from models.storage import Landmarker
from models.track.smoothing import LAG, Face
from models.track.tracker import AHEAD, Tracker, make_tracker
from results.batch.table import append_rows
from results.crop_files import CropFiles, source_id
from results.figures.drawing import draw_faces
from results.photos import output_paths

FILM_ENDING = "_key_points.mp4"
AHEAD_BYTES = 64 << 20  # most memory of the frames that are read ahead for the search


class Rows:
    """A CSV that grows row by row: a kill loses none of them, a full disk leaves no half of one."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115  `write` closes it
        self.add([columns])

    def add(self, rows: list[list]) -> None:
        """Write rows. Raises OSError, after which the file ends with the last whole one."""
        append_rows(self.file, self.file.tell(), rows)


class VideoAnswers:
    """Writes the results of a video frame by frame: memory does not grow with its length.

    Until they are finished the annotated video and the table are called .partial.mp4 and
    .partial.csv; both can be used when the process is killed.
    """

    def __init__(
        self, video: VideoReader, landmarker: Landmarker, film: Path, crop_size: int
    ) -> None:
        """`film`: path of the annotated video; `crop_size`: side of the aligned crops, 0 for
        none."""
        self.video, self.landmarker, self.crop_size = video, landmarker, crop_size
        self.film, self.table = film, film.with_suffix(".csv")
        name = film.name.removesuffix(FILM_ENDING)
        self.comment = film_of(video.origin)
        self.crops = CropFiles(film.parent / "crops", name, video.origin, crop_size, is_video=True)
        self.frames = self.with_faces = 0
        self.second = 0
        self.best: dict[int, tuple[float, Frame, Detections]] = {}

    def write(self, tracker: Tracker, stop: GentleStop) -> None:
        """Write the annotated video and the CSV of its key points.

        Raises InputError if they cannot be written; what was written until then is kept.
        """
        partial = {path: partial_path(path) for path in (self.film, self.table)}
        kept = f"what was done until then is in {' and '.join(map(str, partial.values()))}"
        writer, rows = None, None
        try:
            for frame, faces in steady_frames(self.video, tracker, stop):
                if writer is None or rows is None:
                    size = frame.picture.shape[1], frame.picture.shape[0]
                    writer = VideoWriter(partial[self.film], size, self.video.rate, self.comment)
                    rows = Rows(partial[self.table], self._columns())
                drawing = self._add(rows, frame, faces)
                writer.write(frame.picture, frame.time, frame.duration, drawing)
                self.frames += 1
            self._save_crops()
            if self.crop_size:
                self.crops.remove_earlier()
            if writer is not None:
                writer.close()
                writer = None
        except OSError as error:
            raise InputError(
                f"{self.film} cannot be written ({why(error)}); {kept}: free some space, or choose"
                " another folder."
            ) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped at once; {kept}.") from None
        finally:
            with suppress(OSError):
                if writer is not None:
                    writer.close()
            if rows is not None:
                rows.file.close()
        for path, written in partial.items():
            os.replace(written, path)

    def _columns(self) -> list[str]:
        """The header of the table."""
        first = ["frame", "time", "face", "box_x", "box_y", "box_w", "box_h"]
        further = MATRIX_COLUMNS if self.crop_size else []
        return [*first, *output_columns(self.landmarker.names), *further]

    def _add(
        self, rows: Rows, frame: Frame, faces: list[Face]
    ) -> Callable[[np.ndarray], None] | None:
        """Write the rows of one frame's faces; returns what draws them on a picture."""
        if not faces:
            return None
        self.with_faces += 1
        found = self._detections(faces)
        values = [found.boxes, found.points.reshape(len(found), -1), found.spread_in_photo]
        fields = [three_decimals(row) for row in np.column_stack(values)]
        if self.crop_size:
            affines = found.aligned_affines(self.crop_size)
            fields = [[*a, *b] for a, b in zip(fields, matrix_fields(affines), strict=True)]
            self._keep_best(frame, faces)
        numbers = [face.number for face in faces]
        time = f"{frame.time:.3f}"
        rows.add([[frame.number, time, n, *row] for n, row in zip(numbers, fields, strict=True)])
        return lambda canvas: draw_faces(canvas, found, numbers)

    def _detections(self, faces: list[Face]) -> Detections:
        """A frame's faces as of a photo."""
        points, spread = (np.array([getattr(f, n) for f in faces]) for n in ("points", "spread"))
        return Detections(points, spread, self.landmarker.names, self.landmarker.mean_face)

    def _keep_best(self, frame: Frame, faces: list[Face]) -> None:
        """Remember each face at its smallest spread in this second, for its aligned crop."""
        if int(frame.time) != self.second:
            self._save_crops()
            self.second = int(frame.time)
        for face in faces:
            spread = float(face_spread(face.spread[None])[0])
            if face.number not in self.best or spread < self.best[face.number][0]:
                self.best[face.number] = spread, frame, self._detections([face])

    def _save_crops(self) -> None:
        """Write the aligned crops of the second that is over."""
        for face, (_, frame, found) in self.best.items():
            affine = found.aligned_affines(self.crop_size)[0]
            self.crops.write(frame.picture, affine, face, frame.number)
        self.best = {}


def run_videos(arguments: argparse.Namespace) -> None:
    """Track the faces in videos or in front of a camera; write annotated videos and their CSVs.

    A video that cannot be read, or only in part, is reported, and the others are processed; at the
    end InputError is raised. Ctrl-C ends it early; what was processed until then is written.
    """
    sources = list_videos(arguments.video)
    films = film_paths(sources, arguments.results)
    problems: list[InputError] = []
    landmarker = None
    for source, film in zip(sources, films, strict=True):
        try:
            video = VideoReader(source)
        except InputError as problem:
            problems.append(problem)
            report(problem, len(sources))
            continue
        with video:
            landmarker = landmarker or open_model(arguments)
            try:
                process_video(video, film, landmarker, arguments)
            except InputError as problem:
                problems.append(problem)
                report(problem, len(sources))
    if len(sources) == 1 and problems:
        raise problems[0]
    if problems:
        raise InputError(
            f"{len(problems)} of {len(sources)} videos could not be read, or only in part, as said"
            " above; fix them or leave them out."
        )


def report(problem: InputError, videos: int) -> None:
    """Print what is wrong with one of several videos."""
    if videos > 1:
        print(f"error: {printable(problem)}", file=sys.stderr, flush=True)


def open_model(arguments: argparse.Namespace) -> Landmarker:
    """The model for all videos; makes the folders that the results need."""
    make_folder(arguments.results)
    landmarker = load_for_photos(arguments.model)
    if arguments.crops:
        check_names(landmarker.found_names)
        make_folder(arguments.results / "crops")
    return landmarker


def process_video(
    video: VideoReader, film: Path, landmarker: Landmarker, arguments: argparse.Namespace
) -> None:
    """Track the faces in one video and write its results.

    Raises InputError if not all of it could be read; what could be read is written first.
    """
    tracker = make_tracker(landmarker, arguments.mirror, arguments.smooth)
    answers = VideoAnswers(video, landmarker, film, arguments.crops)
    if video.is_live:
        print(f"Recording {video.source}; Ctrl-C ends it.", flush=True)
    with GentleStop() as stop:
        answers.write(tracker, stop)
    tell(answers, tracker.count)
    if stop.asked and not video.is_live:
        raise KeyboardInterrupt(
            f"stopped after {answers.frames} frames; they are in {answers.film}"
        )
    if video.trouble:
        raise InputError(
            f"{video.source}: {video.trouble}; the results are of the rest; {video.advice}"
        )


def film_paths(sources: Sequence[str], results: Path) -> Iterator[Path]:
    """The path of each annotated video: no two are the same, none is a video's own path, and none
    is taken by an earlier run on another video."""
    if is_camera(sources[0]):
        return iter([results / f"camera_{sources[0]}{FILM_ENDING}"])
    inputs = {os.path.realpath(source) for source in sources}
    origins = [origin_of(source) for source in sources]
    current: Path | str = ""

    def names() -> Iterator[Path]:
        nonlocal current
        for current in origins:
            yield name_of(current)

    def is_free(film: Path, video: Path) -> bool:
        there = [path for path in (film, partial_path(film)) if path.exists()]
        # Films of earlier versions do not say what they were made from.
        own = {film_comment(path) for path in there} <= {"", film_of(current)}
        return own and os.path.realpath(film) not in inputs

    return output_paths([*map(name_of, origins)], names(), results, FILM_ENDING, is_free)


def name_of(origin: Path | str) -> Path:
    """The path by which a video's results are named: of an address without what is secret."""
    if isinstance(origin, Path):
        return origin
    parts = urlsplit(shown(origin))
    return Path(f"{parts.hostname or ''}{parts.path}".rstrip("/"))


def film_of(source: Path | str) -> str:
    """The comment in an annotated video: what it was made from."""
    return f"{OWN_FILM} {source_id(source)}"


def partial_path(path: Path) -> Path:
    """What a result is called until it is finished."""
    return path.with_suffix(f".partial{path.suffix}")


def tell(answers: VideoAnswers, count: int) -> None:
    """Print what was found and where it is."""
    video = answers.video
    print(
        f"{printable(video.source)}: {count} face(s), seen in {answers.with_faces} of"
        f" {answers.frames} frames, pictured in {printable(answers.film)}"
        + (", without the sound" if video.has_sound else "")
    )
    if crops := len(answers.crops.written):
        print(f"{crops} aligned crop(s) are in {printable(answers.crops.folder)}")
    print(f"key points are in {printable(answers.table)}", flush=True)


def steady_frames(
    video: VideoReader, tracker: Tracker, stop: GentleStop
) -> Iterator[tuple[Frame, list[Face]]]:
    """Each frame with its faces, `LAG` frames later, when their points are final; none where the
    frame is damaged. Shows a progress bar, and ends early when asked to stop."""
    waiting: deque[tuple[Frame, list[Face]]] = deque()
    total = video.count
    with progress_bar("frames", total) as advance:
        for frame in shown_ahead(video, tracker):
            if frame.damaged:
                tracker.follow_damaged(frame.grey, frame.time)
                waiting.append((frame, []))
            else:
                waiting.append((frame, tracker.step(frame.grey, frame.time)))
            if len(waiting) > LAG:
                yield waiting.popleft()
            if video.count is None and video.length and frame.time:  # by the rate so far
                total = round(video.length / frame.time * frame.number)
            advance(1, total)
            if stop.asked:
                break
    yield from waiting


def shown_ahead(video: VideoReader, tracker: Tracker) -> Iterator[Frame]:
    """The frames; the tracker sees each one `AHEAD` frames before, or fewer if they are large."""
    coming: deque[Frame] = deque()
    for frame in video:
        if not frame.damaged:
            tracker.prepare(frame.grey, frame.time)
        coming.append(frame)
        if len(coming) > min(AHEAD, AHEAD_BYTES // frame.picture.nbytes):
            yield coming.popleft()
    yield from coming
