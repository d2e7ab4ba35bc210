"""`--video`: annotated videos, and a table of each one's faces and key points."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from data.images.aligned_crops import check_names
from data.images.video_input import is_camera, origin_of, shown
from data.images.video_list import OWN_FILM, film_comment, list_videos
from data.images.video_writer import VideoWriter
from data.images.videos import Frame, VideoReader
from data.system.files import InputError, make_folder, printable, why
from data.system.progress import progress_bar
from data.system.signals import GentleStop, acknowledge_stop
from models.choose import load_for_photos
from models.detect.search import Detections
from models.spread import face_spread
from models.storage import Landmarker, load_landmarker
from models.track.smoothing import LAG, Face
from models.track.tracker import AHEAD, Tracker, make_tracker
from results.batch.processes import ONE_THREAD, Crash, Processes, in_order, load_once
from results.batch.table import append_rows
from results.crop_files import CropFiles, source_id
from results.face_fields import check_poses, face_columns, face_fields
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
        self,
        video: VideoReader,
        landmarker: Landmarker,
        film: Path,
        crop_size: int,
        axes: bool = False,
    ) -> None:
        """`film`: path of the annotated video; `crop_size`: side of the aligned crops, 0 for
        none; `axes`: draw how heads are turned."""
        self.video, self.landmarker, self.crop_size = video, landmarker, crop_size
        self.axes = axes
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
        return ["frame", "time", "face", *face_columns(self.landmarker, self.crop_size)]

    def _add(
        self, rows: Rows, frame: Frame, faces: list[Face]
    ) -> Callable[[np.ndarray], None] | None:
        """Write the rows of one frame's faces; returns what draws them on a picture."""
        if not faces:
            return None
        self.with_faces += 1
        found = self._detections(faces)
        affines = None
        if self.crop_size:
            affines = found.aligned_affines(self.crop_size)
            self._keep_best(frame, faces)
        fields = face_fields(found, affines)
        numbers = [face.number for face in faces]
        time = f"{frame.time:.3f}"
        rows.add([[frame.number, time, n, *row] for n, row in zip(numbers, fields, strict=True)])
        return lambda canvas: draw_faces(canvas, found, numbers, self.axes)

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
            spread = float(face_spread(face.spread[None], self.landmarker.names)[0])
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
    films = zip(sources, film_paths(sources, arguments.results), strict=True)
    jobs = min(arguments.jobs or 1, len(sources))
    if arguments.jobs == 1:
        os.environ.update(ONE_THREAD)  # as each of several processes
    done = track_here(films, arguments) if jobs == 1 else track_in(jobs, films, arguments)
    problems: list[InputError] = []
    for problem in done:
        if problem:
            problems.append(problem)
            report(problem, len(sources))
    if len(sources) == 1 and problems:
        raise problems[0]
    if problems:
        raise InputError(
            f"{len(problems)} of {len(sources)} videos could not be read, or only in part, as said"
            " above; fix them or leave them out."
        )


def track_here(
    films: Iterable[tuple[str, Path]], arguments: argparse.Namespace
) -> Iterator[InputError | None]:
    """Process videos, each with the path of its annotated one; yields for each what is wrong."""
    landmarker = None
    for source, film in films:
        try:
            with VideoReader(source) as video:
                landmarker = landmarker or open_model(arguments)
                process_video(video, film, landmarker, arguments, make_tracker)
        except InputError as problem:
            yield problem
        else:
            yield None


def track_in(
    jobs: int, films: Iterable[tuple[str, Path]], arguments: argparse.Namespace
) -> Iterator[InputError | None]:
    """As `track_here`, in so many processes of one thread."""
    landmarker = open_model(arguments)
    task = VideoTask(arguments, landmarker.path, load_landmarker, make_tracker)
    print(f"Starting {jobs} processes ...", flush=True)
    workers, done = Processes(jobs), 0
    try:
        for (source, _), outcome in in_order(workers, partial(track_in_process, task), films):
            if isinstance(outcome, Crash):
                outcome = InputError(f"{source} crashed the process that read it; leave it out.")
            yield outcome
            done += 1
    except KeyboardInterrupt:
        acknowledge_stop()  # or it would be raised again while they are ended
        raise KeyboardInterrupt(
            f"stopped after {done} videos; what was done of others is in their .partial files."
        ) from None
    finally:
        workers.stop()


@dataclass(frozen=True)
class VideoTask:
    """What a process does with videos."""

    arguments: argparse.Namespace
    model: Path
    # Named here so that processes use the same as this one, whatever it is.
    load: Callable[[Path], Landmarker]
    make_tracker: Callable[[Landmarker, bool, bool], Tracker]


def track_in_process(task: VideoTask, film: tuple[str, Path]) -> InputError | None:
    """Process a video in one of several processes; returns what is wrong with it."""
    source, path = film
    landmarker = load_once(task.model, task.load)
    try:
        with redirect_stdout(Lines(sys.stdout)), VideoReader(source) as video:
            process_video(video, path, landmarker, task.arguments, task.make_tracker)
    except InputError as problem:
        return problem
    return None


class Lines(io.TextIOBase):
    """Prints whole lines, as several processes must, and is no terminal: no progress bars."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.begun = stream, ""

    def write(self, text: str) -> int:
        """Print the lines that end in the text."""
        whole, end, self.begun = (self.begun + text).rpartition("\n")
        self.stream.write(whole + end)
        self.stream.flush()
        return len(text)


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
    if arguments.axes:
        check_poses(landmarker)
    return landmarker


def process_video(
    video: VideoReader,
    film: Path,
    landmarker: Landmarker,
    arguments: argparse.Namespace,
    make_tracker: Callable[[Landmarker, bool, bool], Tracker],
) -> None:
    """Track the faces in one video and write its results.

    Raises InputError if not all of it could be read; what could be read is written first.
    """
    tracker = make_tracker(landmarker, arguments.mirror, arguments.smooth)
    answers = VideoAnswers(video, landmarker, film, arguments.crops, arguments.axes)
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
    with progress_bar(f"{printable(Path(video.source).name)}, frame", total) as advance:
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
