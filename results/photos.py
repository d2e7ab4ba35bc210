"""`--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.images.aligned_crops import check_names
from data.images.photos import OWN_OUTPUT, PhotoList, is_own_output, list_photos, read_photo
from data.images.pixels import to_srgb
from data.system.addresses import address_of, local_file
from data.system.files import InputError, make_folder, one_line, printable, replace_file
from data.system.lock import locked
from data.system.progress import progress_bar
from data.system.signals import acknowledge_stop
from models.choose import load_for_photos
from models.detect.search import Detections, detect, detect_in_boxes
from models.detect.settings import SearchSettings, settings_of
from models.spread import face_spread
from models.storage import Landmarker, file_digest, load_landmarker
from results.batch.answers import Answers, Labels, Outcome, Photo
from results.batch.cluster import Cluster
from results.batch.journal import Journal
from results.batch.processes import (
    ONE_THREAD,
    Crash,
    Processes,
    Workers,
    in_order,
    load_once,
    process_count,
)
from results.batch.table import CsvTable, ParquetTable
from results.crop_files import SOURCE, CropFiles, png_text, read_png_text, source_id
from results.face_fields import check_poses, face_columns, face_fields
from results.figures.drawing import draw_faces, draw_legend
from results.label_files import LabelFiles
from results.training_rows import TrainingRow, TrainingRows, training_rows

if TYPE_CHECKING:
    from PIL import Image

# How annotated photos are compressed: otherwise a large one takes seconds. For photos, run-length
# encoding gives smaller files than zlib's fastest search for repetitions.
QUICK_PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}


WORTH = 50  # photos for each process, whose start takes as long as about ten photos
MANY = 100  # photos from which on a run is one that somebody may want to resume or to count


def run_photos(arguments: argparse.Namespace) -> None:
    """Find the faces and key points in photos; write annotated pictures and key_points.csv.

    A photo that cannot be read is reported, and the run goes on; at the end InputError is raised.
    Rows are written while the run goes on, and are kept when Ctrl-C ends it.
    """
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give only one photo.")
    path = arguments.results / (arguments.table or "key_points.csv")
    make_folder(arguments.results)
    make_folder(path.parent)
    if arguments.jobs == 1:  # so that one process finds what several find, to the last digit
        os.environ.update(ONE_THREAD)
    with locked(path, f"{path}", "wait until it ends, or choose another folder by --results"):
        landmarker = load_for_photos(arguments.model)
        task = open_task(arguments, landmarker)
        answers = open_answers(path, arguments, task, landmarker, photos)
        try:
            workers = open_workers(arguments, len(photos) - answers.before.photos)
            answers.jobs = workers.count if workers else 1
            look_at_all(photos, task, landmarker, workers, answers)
            answers.finish()
        except KeyboardInterrupt:
            acknowledge_stop()  # or it would be raised again while the rows are written
            raise KeyboardInterrupt(answers.stopped()) from None
        finally:
            answers.close()


def open_answers(
    path: Path, arguments: argparse.Namespace, task: Task, landmarker: Landmarker, photos: PhotoList
) -> Answers:
    """The table at `path` and what belongs to it. Raises InputError where it cannot be resumed."""
    training = TrainingRows(arguments.csv, landmarker.names) if arguments.csv else None
    labels = None
    if arguments.labels:
        folder, settings = arguments.results / "labels", settings_of(landmarker.free)
        labels = LabelFiles(folder, arguments.labels, landmarker.names, settings)
    columns = ["photo", "face", *face_columns(landmarker, task.crop_size)]
    journal = Journal(path, same_run(task, landmarker, columns))
    table = ParquetTable(path, columns) if path.suffix == ".parquet" else CsvTable(path, columns)
    asked = arguments.resume, arguments.jobs, arguments.cluster, arguments.table
    large = len(photos) > MANY or any(asked) or not arguments.pictures
    answers = Answers(table, journal, training, labels, arguments.results, photos, large)
    answers.open(arguments.resume)
    return answers


def look_at_all(
    photos: PhotoList,
    task: Task,
    landmarker: Landmarker,
    workers: Workers | None,
    answers: Answers,
) -> None:
    """Look at all photos that were not looked at before, under a progress bar."""
    left = max(1, len(photos) - answers.before.photos)
    new = answers.new(name_photos(photos, task))
    # Photos that failed; their pictures of an earlier run go once the table is this run's.
    stale: list[Photo] = []
    found = looking(new, task, landmarker, workers)
    with progress_bar("photos", left) as advance, found as outcomes:
        for photo, outcome in outcomes:
            answers.add(photo, outcome)
            if outcome.problem and task.pictures:
                stale.append(photo)
            while answers.written and stale:
                forget(stale.pop())
            advance(1)


@contextlib.contextmanager
def looking(
    photos: Iterable[Photo], task: Task, landmarker: Landmarker, workers: Workers | None
) -> Iterator[Iterator[tuple[Photo, Outcome]]]:
    """A context that gives each photo with what came of it, in order."""
    if workers is None:
        yield ((photo, look_at(photo, task, landmarker)) for photo in photos)
        return
    try:
        yield in_processes(workers, photos, task)
    except KeyboardInterrupt:
        acknowledge_stop()  # or it would be raised again while they are ended
        raise
    finally:
        workers.stop()


def open_workers(arguments: argparse.Namespace, photos: int) -> Workers | None:
    """The processes for so many photos; None if this one is to do it alone."""
    if arguments.cluster:
        workers: Workers = Cluster(arguments.cluster)
        print(f"Dask's workers run {workers.count} tasks at once.", flush=True)
        return workers
    jobs = arguments.jobs or process_count(photos, WORTH)
    if jobs == 1:
        return None
    print(f"Starting {jobs} processes ...", flush=True)
    return Processes(jobs)


def in_processes(
    workers: Workers, photos: Iterable[Photo], task: Task
) -> Iterator[tuple[Photo, Outcome]]:
    """Each photo with what came of it, in order; one that crashes its process has a problem."""
    for photo, outcome in in_order(workers, partial(look_in_process, task), photos):
        if isinstance(outcome, Crash):
            how = f" ({outcome})" if str(outcome) else ""
            outcome = Outcome(
                problem=f"{photo.name} crashed the process that looked at it{how}, or took more"
                " memory than there is; leave it out, or save it in another format."
            )
        yield photo, outcome


def look_in_process(task: Task, photo: Photo) -> Outcome:
    """Look at a photo in one of several processes, which loads the model for its first one."""
    landmarker = load_once(task.model, task.load)
    if not address_of(photo.path):
        photo = photo._replace(path=task.base / photo.path)
    return look_at(photo, task, landmarker)


def same_run(task: Task, landmarker: Landmarker, columns: list[str]) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    return {
        "model": digest_of(landmarker),
        "--mirror": task.mirror,
        "--crops": task.crop_size,
        "--box": task.box,
        "columns": columns,
        "search settings": asdict(settings_of(landmarker.free)),
    }


def digest_of(landmarker: Landmarker) -> str | None:
    """What tells a model from others: the digest in its record, else that of its file."""
    record = landmarker.record
    known = record.get("file_sha256") or record.get("weights_sha256")
    return known or (file_digest(landmarker.path) if landmarker.path.exists() else None)


# --- one photo -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is done with each photo."""

    mirror: bool
    box: list[float] | None
    crop_size: int  # side of the aligned crops in pixels; 0 for none
    results: Path  # folder of the pictures; the crops are in its folder `crops`
    training: bool  # whether rows of a training CSV are wanted
    labels: bool  # whether label files are wanted
    pictures: bool  # whether annotated photos are wanted
    axes: bool  # whether they show how heads are turned
    model: Path
    base: Path  # in front of relative paths of photos, where processes have another folder
    # Named here so that processes use the same as this one, whatever it is.
    load: Callable[[Path], Landmarker]
    detect: Callable[..., Detections]


def open_task(arguments: argparse.Namespace, landmarker: Landmarker) -> Task:
    """The task that the command line sets. Raises InputError where this model's key points do not
    allow crops or axes."""
    if arguments.crops:
        check_names(landmarker.found_names)
        make_folder(arguments.results / "crops")
    if arguments.axes:
        check_poses(landmarker)
    base = Path.cwd() if arguments.cluster else Path()
    return Task(
        mirror=arguments.mirror,
        box=arguments.box,
        crop_size=arguments.crops,
        results=base / arguments.results,
        training=arguments.csv is not None,
        labels=arguments.labels is not None,
        pictures=arguments.pictures,
        axes=arguments.axes,
        model=base / landmarker.path,
        base=base,
        load=load_landmarker,
        detect=detect,
    )


def look_at(photo: Photo, task: Task, landmarker: Landmarker) -> Outcome:
    """Process one photo, whatever it holds: one photo must not stop the others."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            rows, training, labels = process_photo(photo, task, landmarker)
    except InputError as problem:
        return Outcome(problem=str(problem))
    except Exception as error:
        return Outcome(problem=f"{photo.name} cannot be used ({one_line(error)}).")
    return Outcome(rows, training, labels, said.getvalue())


def process_photo(
    photo: Photo, task: Task, landmarker: Landmarker
) -> tuple[list[list[str]], list[TrainingRow], Labels | None]:
    """Find the faces in one photo, or the one in the box, and draw them.

    Returns their fields in the table, after `photo` and `face`; their training rows and what label
    files need, if wanted.
    """
    path = photo.path
    with local_file(path) as file:
        picture = read_photo(file)
    if task.box:
        boxes = box_in_photo(task.box, picture, path)[None]
        faces = detect_in_boxes(landmarker, picture, boxes, task.mirror)
    else:
        faces = task.detect(landmarker, picture, task.mirror)
    affines = None
    if task.crop_size:
        affines = faces.aligned_affines(task.crop_size)
        save_crops(photo, picture, affines, task)
    rows = face_fields(faces, affines)
    training = training_rows(path, picture, faces) if task.training else []
    labels = Labels(picture.size, faces) if task.labels else None
    if not task.pictures:
        return rows, training, labels
    if not len(faces):
        print(f"{photo.name}: no face found; --box X Y W H says where one is.")
        forget(photo)
    else:
        save_annotated(picture, faces, photo, task.axes)
        said = say_found(faces, task, settings_of(landmarker.free))
        print(f"{photo.name}: {said}, pictured in {printable(photo.target)}")
    return rows, training, labels


def say_found(faces: Detections, task: Task, settings: SearchSettings) -> str:
    """How many faces were found, or that the box is not around one: its spread is too large."""
    spread = float(face_spread(faces.spread, faces.names)[0])
    limit = settings.spread_limit(faces.boxes[0, 2])
    if task.box and not spread < limit:
        return (
            f"the box hardly shows a face, or not one that this model can handle: its spread is"
            f" {spread:.1f} px, that of faces below {limit:g}"
        )
    return f"{len(faces)} face(s)"


def save_crops(photo: Photo, picture: Image.Image, affines: np.ndarray, task: Task) -> None:
    """Write the aligned crops of a photo's faces, by their affines (N, 2, 3)."""
    folder = task.results / "crops"
    files = CropFiles(folder, stem_of(photo.target), photo.path, task.crop_size)
    colours = np.asarray(to_srgb(picture))
    for number, affine in enumerate(affines, 1):
        files.write(colours, affine, number)
    files.remove_earlier()


def save_annotated(
    picture: Image.Image, faces: Detections, photo: Photo, axes: bool = False
) -> None:
    """Write the picture with its faces drawn on it, as a PNG that names the photo it is of."""
    info = png_text(**OWN_OUTPUT, **{SOURCE: source_id(photo.path)})
    drawn = annotate(to_srgb(picture), faces, axes)
    replace_file(photo.target, lambda file: drawn.save(file, pnginfo=info, **QUICK_PNG))


def forget(photo: Photo) -> None:
    """Remove the annotated photo of an earlier run, which shows what this run did not find."""
    target = photo.target
    if is_own_output(target):
        target.unlink()
        print(f"{printable(target)} of an earlier run is removed.")


def stem_of(target: Path) -> str:
    """How the names of a photo's crops begin, by the path of its annotated picture."""
    return target.name.removesuffix("_key_points.png")


def name_photos(photos: PhotoList, task: Task) -> Iterator[Photo]:
    """The photos, each with the path of its annotated picture, if one or a crop is wanted."""
    if not (task.pictures or task.crop_size):
        yield from (Photo(path, Path()) for path in photos)
        return
    targets = output_paths(photos.listed, photos, task.results)
    yield from (Photo(path, target) for path, target in zip(photos, targets, strict=False))


def output_paths(
    listed: Iterable[Path | str],
    photos: Iterable[Path],
    results: Path,
    ending: str = "_key_points.png",
    is_free: Callable[[Path, Path], bool] | None = None,
) -> Iterator[Path]:
    """The path of each annotated photo: no two are the same, and none is a photo's own path.

    Photos of the same name in several folders have the folders' names in front. `listed`: all
    photos, and maybe more, before the first of `photos` is named; it is iterated twice. `is_free`
    says whether a photo's picture may have a path.
    """
    is_free = is_free or is_free_for_photo
    resolved = lru_cache(1000)(lambda folder: Path(folder).resolve())

    def parts_of(photo: Path | str) -> tuple[str, ...]:
        folder, name = os.path.split(photo)
        return (*resolved(folder).parts[1:], name)

    here = fold(results.resolve().parts[1:])
    seen: set[int] = set()
    repeated: set[int] = set()  # hashes of names that photos in several folders have
    taken: set[str] = set()  # names in `results`
    for photo in listed:
        *folder, name = parts_of(photo)
        name = name.lower()
        (repeated if hash(name) in seen else seen).add(hash(name))
        if name.endswith(ending) and fold(folder) == here:
            taken |= set() if is_own_output(Path(photo)) else {name}
    del seen
    whole = (parts_of(p) for p in listed if hash(os.path.basename(p).lower()) in repeated)
    ends = Counter(fold(parts[-n:]) for parts in whole for n in range(1, len(parts) + 1))
    for photo in photos:
        # As many folders as make it unique, more where that name is taken.
        parts = parts_of(photo)
        lengths = range(1, len(parts) + 1)
        shown = [parts[-n:] for n in lengths if ends[fold(parts[-n:])] <= 1] or [parts]
        folders = ("_".join([*map(printable, some[:-1]), ""]) for some in shown)
        names = chain.from_iterable((f + photo.stem, f + photo.name) for f in folders)
        names = chain(names, (f"{photo.name}_{i}" for i in count(2)))
        candidates = (f"{shortened(name)}{ending}" for name in names)
        free = next(
            name
            for name in candidates
            if name.lower() not in taken and is_free(results / name, photo)
        )
        taken.add(free.lower())
        yield results / free


def is_free_for_photo(target: Path, photo: Path) -> bool:
    """Whether a photo's picture may have that path: no user's file is there, and neither the file
    there nor the first crop of its name was made from another photo."""
    crop, source = target.parent / "crops" / f"{stem_of(target)}_1.png", source_id(photo)
    if target.exists() and not is_own_output(target):
        return False
    # Files of earlier versions do not say what they were made from.
    return all(read_png_text(file).get(SOURCE, source) == source for file in (target, crop))


def fold(parts: Sequence[str]) -> str:
    """Parts of a path as one text, equal where Windows and macOS take them for the same path."""
    return "/".join(parts).lower()


def shortened(name: str, limit: int = 200) -> str:
    """A file name of at most `limit` bytes: most file systems take 255 with the ending."""
    encoded = os.fsencode(name)
    if len(encoded) <= limit:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: limit - 9].decode("utf-8", "ignore") + "_" + digest


def box_in_photo(box: list[float], photo: Image.Image, path: Path) -> np.ndarray:
    """`box`, x y w h, as an array (4,). Raises InputError if it cannot be in the photo."""
    x, y, w, h = box
    width, height = photo.size
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height or max(w, h) > 3 * max(photo.size):
        raise InputError(
            f"--box {x:g} {y:g} {w:g} {h:g} is outside the photo {path}, which has"
            f" {width}x{height} pixels, or is far larger."
        )
    return np.array(box)


def annotate(photo: Image.Image, faces: Detections, axes: bool = False) -> Image.Image:
    """Draw faces on a PIL photo: their boxes, numbers, key points and 90 % regions, and the `axes`
    of their heads.

    Returns another photo of the same size.
    """
    from PIL import Image

    canvas = np.array(photo)
    numbers = range(1, len(faces) + 1)
    draw_faces(canvas, faces, numbers, axes)
    draw_legend(canvas, faces)
    return Image.fromarray(canvas)
