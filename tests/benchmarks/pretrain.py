"""Train the shipped weights again: the steps that made them, as commands, one after the other.

    python tests/benchmarks/pretrain.py --kaggle training.zip --archive wild_faces.npz
    python tests/benchmarks/pretrain.py --weights synthetic_68
    python tests/benchmarks/pretrain.py --list           # only print them

They run in the project's folder. Every step can also be typed by hand. A step whose output exists
is not repeated, and the long ones resume where they were stopped.

`research`, models/pretrained.keras, has 6.9 million training samples: 11 minutes of a GPU whose
batches were augmented by 14 processes (`--processes 14`, with KERAS_BACKEND=jax), which is how the
shipped file was made; without that `model_builder.py` trains, some 40 hours of one core.

`synthetic`, models/synthetic.keras, and `synthetic_68`, models/synthetic_68.keras, learn from
rendered faces alone and need no data. Both are cut from one network.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import common  # noqa: F401

from data.settings import Settings
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder
from models.storage import CC0

BENCHMARKS = HERE / "tests" / "benchmarks"
EPOCHS, BATCH = 130, 256  # as long as a GPU was available; batches that keep it busy
LIPS = ("mouth_center_top_lip", "mouth_center_bottom_lip")  # all files mark their outer edges
WEIGHTS = {"research": None, "synthetic": 15, "synthetic_68": 68}  # and how many points they have
BOTH = BENCHMARKS / "points_72.txt"
EYES = ("left_eye_center", "right_eye_center", "left_pupil", "right_pupil")


class OnRendered(NamedTuple):
    """A training on rendered faces."""

    seed: int  # of the faces
    count: int
    epochs: int
    held_out: float  # share of the faces
    points: int | Path = BOTH
    rate: float = Settings().learning_rate  # at its peak
    average: int = 0  # its weights with those from before so many trainings
    emphasized: tuple[str, ...] = ()  # key points that count more in the loss
    precision: str = "float32"


ON_THE_EYES = OnRendered(306, 26_000, 7, 0.04, rate=0.003, emphasized=EYES, precision="bfloat16")

# One after the other. The fifth goes on with the faces of the fourth, whose errors were no lower
# than those of held-out faces; its first six epochs show the same views again. When the weights
# were made, the fourth and the fifth had 70 points: all but the pupils. The last three are one
# training in three parts, whose result is averaged with the weights that it started from.
RENDERED = (
    OnRendered(300, 30_000, 7, 0.05, 15),
    OnRendered(301, 30_000, 6, 0.05, 15),
    OnRendered(302, 40_000, 4, 0.05, 15),
    OnRendered(303, 50_000, 6, 0.04),
    OnRendered(303, 50_000, 7, 0.04, rate=0.003),
    OnRendered(304, 40_000, 9, 0.04, average=1),
    OnRendered(305, 26_000, 8, 0.04, rate=0.003, average=1),
    ON_THE_EYES,
    ON_THE_EYES._replace(epochs=2, rate=0.002),
    ON_THE_EYES._replace(epochs=3, rate=0.002, average=3),
)


def trainer(processes):
    """The command that trains, here or with batches augmented by so many processes."""
    many = [BENCHMARKS / "many_cores.py", processes]
    return [sys.executable, *(many if processes else [HERE / "model_builder.py"])]


def research_steps(kaggle, archive, folder, model, processes):
    """The commands in order, each with the file that it writes."""
    python = sys.executable
    one_meaning = folder / "one_meaning.csv"
    wild, made = [folder / "lfw.csv", folder / "aflw.csv"], folder / "made" / "training.csv"
    turned = [folder / f"turned_{source}.csv" for source in ("kaggle", "lfw", "aflw")]
    trained = folder / "trained.keras"
    return [
        (wild[-1], [python, BENCHMARKS / "wild_faces_csv.py", archive, "--out", folder]),
        (one_meaning, [python, "-m", "data.labels.kaggle", kaggle, "--out", one_meaning]),
        (
            turned[-1],
            [python, BENCHMARKS / "turned_faces_csv.py", "--kaggle", one_meaning, "--wild", folder]
            + ["--seed", 2],
        ),
        (
            made,
            [python, "-m", "data.synthetic", "--train", 6000, "--test", 0]
            + ["--seed", 200, "--out", made.parent],
        ),
        (
            trained,
            [*trainer(processes), "--data", one_meaning, *wild, *turned, made, "--alike", *LIPS]
            + ["--epochs", EPOCHS, "--batch-size", BATCH, "--precision", "float32"]
            + ["--model", trained, "--results", folder / "trained"],
        ),
        (model, [python, BENCHMARKS / "oldest_keras.py", trained, model]),
    ]


def synthetic_steps(points, folder, model, processes):
    """The commands in order, each with the file that it writes; no real face is in any of them.

    `points`: how many the network is to have, 15 or 68.
    """
    python, steps, results = sys.executable, {}, [None]
    for number, training in enumerate(RENDERED, 1):
        faces = folder / f"rendered_{training.seed}" / "training.csv"
        render = [python, "-m", "data.synthetic.rendered", "--train", training.count, "--test", 0]
        render += ["--seed", training.seed, "--points", training.points, "--out", faces.parent]
        steps[faces] = render  # once for all trainings on them
        start = ["--init", results[-1]] if number > 1 else []
        emphasis = ["--emphasize", *training.emphasized] if training.emphasized else []
        trained = folder / f"trained_{number}" / "trained.keras"
        train = [*trainer(processes), "--data", faces, *start, "--epochs", training.epochs]
        train += ["--learning-rate", training.rate, "--validation-split", training.held_out]
        train += ["--precision", training.precision, "--model", trained]
        steps[trained] = [*train, "--results", trained.parent, *emphasis]
        latest = trained
        if training.average:
            latest, earlier = trained.with_name("averaged.keras"), results[-training.average]
            steps[latest] = [python, BENCHMARKS / "average_networks.py", earlier, trained, latest]
        results.append(latest)
    some = latest.with_name(f"trained_{points}.keras")
    take = [python, BENCHMARKS / "take_points.py", latest, some, "--points", points]
    ship = [python, BENCHMARKS / "oldest_keras.py", some, model, "--licence", CC0]
    return [*steps.items(), (some, take), (model, ship)]


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Make shipped weights again.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--weights", choices=WEIGHTS, default="research", help="which")
    shared = HERE.parent / "shared" / "data"
    add("--kaggle", type=Path, default=shared / "training.csv.gz", help="Kaggle's training file")
    add("--archive", type=Path, default=shared / "wild_faces.npz", help="see wild_faces_csv.py")
    add("--folder", type=Path, default=HERE / "data", help="for all intermediate files")
    add("--model", type=Path, default=HERE / "models" / "my_model.keras", help="where to save")
    add("--processes", type=int, help="that augment the batches, for a GPU; see many_cores.py")
    add("--list", action="store_true", help="only print the commands")
    return parser.parse_args(argv)


def do(outcome, command):
    """Run one step; a training that was stopped is resumed. Raises InputError if it fails."""
    command = list(map(str, command))
    unfinished = "--model" in command and outcome.with_suffix(".resume.npz").exists()
    if subprocess.run([*command, *["--resume"] * unfinished], cwd=HERE).returncode:
        raise InputError(f"the step that makes {outcome} failed; its message is above.")


def run(arguments):
    """Do the steps whose output is missing."""
    real = arguments.weights == "research"
    for path in (arguments.kaggle, arguments.archive) if real else ():
        if not path.is_file() and not arguments.list:
            raise InputError(f"{path} does not exist; give its path, see --help.")
    if not arguments.list:
        make_folder(arguments.folder)
    # Whole paths: the steps run in the project's folder.
    sources = [arguments.kaggle.resolve(), arguments.archive.resolve()] if real else []
    rest = arguments.folder.resolve(), arguments.model.resolve(), arguments.processes
    points = WEIGHTS[arguments.weights]
    steps = research_steps(*sources, *rest) if real else synthetic_steps(points, *rest)
    for outcome, command in steps:
        if arguments.list:
            print(shlex.join(map(str, command)))
        elif outcome.exists():
            print(f"{outcome} exists already.")
        else:
            print("+ " + shlex.join(map(str, command)), flush=True)
            do(outcome, command)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
