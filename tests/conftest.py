"""Fixtures: synthetic faces, CSV files of them, a small trained model. No real face is needed."""

import fcntl
import gc
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partialmethod, wraps
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as face_key_points.py does
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `run_script` does
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import model_builder as mb  # noqa: E402
from data.faces import join_faces, load_faces, synthetic_faces  # noqa: E402
from data.key_points import COLUMNS, SIZE  # noqa: E402
from data.split import split_faces  # noqa: E402
from data.system.command_line import keep_freed_memory  # noqa: E402
from data.system.files import InputError  # noqa: E402
from models import network  # noqa: E402
from models.training import fit  # noqa: E402
from results import held_out, predictions  # noqa: E402

# The slow files come first, or one of the two test processes would be idle at the end. In this
# order the two seldom need the same fixture at the same time.
LONG = (
    *("test_workers", "test_resume", "test_command_line", "test_own_points", "test_fuzz"),
    *("test_face_key_points", "test_keras_settings", "test_export", "test_submission"),
    *("test_runtimes", "test_bad_input", "test_photos", "test_training_rows", "test_benchmarks"),
    *("test_many_processes", "test_never_labelled", "test_label_files", "test_formats"),
)


def pytest_collection_modifyitems(items):
    """Order the files: the LONG ones first."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@contextmanager
def unwatched():
    """Suspend coverage: up to Python 3.11, each line that it traces takes twice as long."""
    watching = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(watching)


def leave_unwatched(owner, *names):
    """Suspend coverage while these methods of a library's class run."""
    for name in names:
        method = getattr(owner, name)

        @wraps(method)
        def call(*arguments, method=method, **options):
            with unwatched():
                return method(*arguments, **options)

        setattr(owner, name, call)


keep_freed_memory()  # as the scripts do: it halves the time of trainings
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # one core for each test process
    with unwatched():  # each process needs these
        import keras
        import tensorflow as tf  # noqa: F401
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    gc.freeze()  # these objects stay, so the garbage collector need not check them again
    # Slow methods of libraries.
    leave_unwatched(keras.Layer, "__call__")
    leave_unwatched(keras.Model, "train_step", "predict_step")
    leave_unwatched(Figure, "subplots", "legend", "savefig")
    leave_unwatched(Axes, "plot")

SHARED = ROOT.parent / "shared" / "data"


def write_csv(path, pictures, key_points=None, columns=COLUMNS, **others):
    """Write faces as Kaggle's CSV, NaN as an empty field."""
    table = {}
    if key_points is not None:
        table = dict(zip(columns, key_points.reshape(len(pictures), -1).T, strict=True))
    table |= others
    table["Image"] = [" ".join(map(str, picture.ravel())) for picture in pictures]
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def refused_table(csv_path, folder, change, message):
    """Assert that the CSV's first rows, changed, are refused in one sentence with their path."""
    path = folder / "bad.csv"
    change(pd.read_csv(csv_path, nrows=3)).to_csv(path, index=False)
    with pytest.raises(InputError, match=message) as caught:
        load_faces(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def smallest_network(bias="zeros"):
    """A Keras model of a few kB with the inputs and outputs of the real network."""
    from keras import Input, Model, layers

    picture = Input((SIZE, SIZE, 1))
    coarse = layers.Flatten()(layers.AveragePooling2D(32)(picture))
    key_points = layers.Dense(30, bias_initializer=bias)(coarse)
    return Model(picture, {"key_points": key_points, "spread": layers.Dense(15)(coarse)})


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function that returns the folder `name`, filled by `make(folder)` once for all processes.

    The first process makes it while the others wait for the lock, which ends with its process.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the folders of the single processes

    def made_once(name, make):
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # an incomplete one, if making it failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made_once


@pytest.fixture(scope="session")
def drawn_once(made_once):
    """`synthetic_faces`, but drawn once for all processes."""

    def drawn_once(count, seed):
        def make(folder):
            (folder / "faces").write_bytes(pickle.dumps(synthetic_faces(count, seed)))

        return pickle.loads((made_once(f"faces_{count}_{seed}", make) / "faces").read_bytes())

    return drawn_once


@pytest.fixture(scope="session")
def made(drawn_once):
    """72 synthetic faces."""
    return drawn_once(72, seed=8)


@pytest.fixture(scope="session")
def faces(drawn_once):
    """120 others; every third lacks the points that Kaggle's second source lacks."""
    others = drawn_once(120, seed=5)
    others.key_points[::3, 2:10] = np.nan
    return others


@pytest.fixture(scope="session")
def data_folder(faces, made_once):
    """The folder with the faces as training.csv, and the first 40 of them as test.csv."""

    def make(folder):
        write_csv(folder / "training.csv", faces.pictures, faces.key_points)
        write_csv(folder / "test.csv", faces.pictures[:40], ImageId=np.arange(40) * 7 + 3)

    return made_once("data", make)


@pytest.fixture(scope="session")
def training_csv(data_folder):
    return data_folder / "training.csv"


@pytest.fixture(scope="session")
def test_csv(data_folder):
    return data_folder / "test.csv"


def clone(folder):
    """Copy the project's code without any data, as after a clone; returns the folder."""
    for name in ("model_builder.py", "face_key_points.py"):
        shutil.copy(ROOT / name, folder / name)
    for package in ("data", "models", "results"):
        for path in (ROOT / package).rglob("*.py"):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return folder


def script(folder, name, *arguments, **environment):
    """Run a script, or `-m` and a module, in a process of its own, as a user does."""
    name = name if name == "-m" else str(folder / name)
    command = [sys.executable, name, *map(str, arguments)]
    environment = {k: v for k, v in (os.environ | environment).items() if v is not None}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


NO_HOME = """
import pwd

def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")

pwd.getpwuid = getpwuid
"""


def without_home(folder):
    """Environment variables as in a container started with `--user`: no HOME, no passwd entry.

    Python runs sitecustomize.py when it starts; it is written to the folder.
    """
    (folder / "sitecustomize.py").write_text(NO_HOME)
    return {"HOME": None, "PYTHONPATH": str(folder)}


# A dry run in a clone, and an environment in which Python itself writes nothing there.
DRY_RUN = "--dry-run", "--precision", "float32"
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def dry_run(made_once):
    """The folder of a clone without data after a dry run of model_builder.py; printed.txt beside
    it has the output. The process had no home."""

    def make(folder):
        (folder / "clone").mkdir()
        (folder / "temporary").mkdir()
        environment = NO_BYTECODE | {"TMPDIR": str(folder / "temporary")} | without_home(folder)
        done = script(clone(folder / "clone"), "model_builder.py", *DRY_RUN, **environment)
        assert done.returncode == 0, done.stderr
        (folder / "printed.txt").write_text(done.stdout)

    return made_once("dry_run", make) / "clone"


@pytest.fixture(scope="session")
def trained_csv(drawn_once, made_once):
    """The faces that a dry run draws without data; some held-out ones lack points."""

    def make(folder):
        faces = drawn_once(64, seed=mb.Settings.seed)
        _, held_out = split_faces(join_faces([faces]))
        faces.key_points[held_out[::3], 2:10] = np.nan
        write_csv(folder / "training.csv", faces.pictures, faces.key_points)

    return made_once("trained_csv", make) / "training.csv"


@pytest.fixture(scope="session")
def trained(trained_csv, made_once):
    """The folder with the model and results of a dry run of `model_builder.py`, which used graphs
    as a user's does."""

    def make(folder):
        places = "--model", folder / "models" / "small.keras", "--results", folder / "results"
        with pytest.MonkeyPatch.context() as patch:
            little_spread(patch)
            assert mb.main([*map(str, ("--data", trained_csv, *places, *DRY_RUN))]) == 0

    return made_once("run", make)


LOADED = {}  # Keras models by the digest of their file


@pytest.fixture(scope="module")
def loaded_once():
    """Load each Keras model, and trace its prediction, only once per process.

    For tests that do not change the models they load.
    """
    import keras

    load = keras.saving.load_model

    def load_once(path, **options):
        content = hashlib.sha256(Path(path).read_bytes()).digest()
        if content not in LOADED:
            LOADED[content] = load(path, **options)
        return LOADED[content]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.saving, "load_model", load_once)
        yield


@pytest.fixture
def sketched(monkeypatch):
    """Replace the pictures of face_key_points.py: drawing them takes longer than all the rest."""
    for module, name in (
        (predictions, "plot_faces"),
        *((held_out, name) for name in ("plot_worst", "plot_errors", "plot_calibration")),
    ):
        monkeypatch.setattr(module, name, lambda path, *_: path.write_bytes(b"a picture"))


@pytest.fixture
def signals_at_default():
    """The handlers of a process in the foreground.

    A shell script starts its background jobs with Ctrl-C ignored, `nohup` with SIGHUP ignored, and
    processes inherit that.
    """
    default = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL}
    default["SIGHUP"] = signal.SIG_DFL
    here = {getattr(signal, name): handler for name, handler in default.items()}
    before = {number: signal.signal(number, handler) for number, handler in here.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def tiny(monkeypatch):
    """Train a network of 1,000 weights, with graphs except for the spread's few steps."""
    from killing import tiny_model

    monkeypatch.setattr(fit, "build_model", tiny_model)
    monkeypatch.setattr(network, "build_model", tiny_model)
    little_spread(monkeypatch)


def little_spread(patch):
    """Learn the spread in two steps without a graph, which would take longer to make."""
    import keras

    @dataclass(frozen=True)
    class Settings(mb.Settings):
        spread_steps: int = 2

    fit_spread = fit.fit_spread

    def without_graphs(*arguments):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(keras.Model, "compile", eager_compile())
            fit_spread(*arguments)

    patch.setattr(mb, "Settings", Settings)
    patch.setattr(fit, "fit_spread", without_graphs)


def eager_compile():
    """Keras's `Model.compile`, without graphs."""
    import keras

    return partialmethod(keras.Model.compile, run_eagerly=True)


def train_in_few_steps(patch):
    """Train without graphs, which take longer to make than a few steps take, and learn the spread
    in two steps. The fixture `trained` uses graphs, as a user's training does."""
    import keras

    little_spread(patch)
    patch.setattr(keras.Model, "compile", eager_compile())


@pytest.fixture(scope="session")
def real_training_csv():
    path = SHARED / "training.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} does not exist: the real faces cannot be shipped")
    return path


@pytest.fixture
def tracker(monkeypatch):
    """`--video` with a face that is always there, and without loading a model."""
    from clips import one_face

    return one_face(monkeypatch)
