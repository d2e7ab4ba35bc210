"""Both scripts run as a user runs them, in processes of their own."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BYTECODE, ROOT, clone, script, without_home

import model_builder as mb
from data.faces import fingerprint, load_faces, load_training, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS, LEFT_EYE, RIGHT_EYE, rmse
from data.split import split_faces
from data.system import command_line, files, signals
from data.system.command_line import ALLOCATOR, keep_freed_memory, run_script
from data.system.files import InputError, find_data
from data.system.signals import STOP_SIGNALS, GentleStop, acknowledge_stop
from models.network import check_backend


def contents(folder):
    """All files below a folder with what is in them."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return clone(tmp_path_factory.mktemp("clone"))


def test_no_data_dry_run_then_pictures(copy, dry_run):
    """Neither process has a home, as in a container started with `--user`."""
    before = {dry_run / path.relative_to(copy): text for path, text in contents(copy).items()}
    printed = (dry_run.parent / "printed.txt").read_text()
    assert "training.csv is not there" in printed
    assert printed.splitlines()[-1].startswith("validation RMSE ")
    assert not (dry_run / "models" / "my_model.keras").exists()
    shutil.copy(dry_run / "models" / "dry_run.keras", dry_run / "models" / "my_model.keras")
    shutil.copy(dry_run / "models" / "dry_run.json", dry_run / "models" / "my_model.json")
    temporary = dry_run.parent / "temporary"
    environment = NO_BYTECODE | {"TMPDIR": str(temporary)} | without_home(dry_run.parent)
    done = script(dry_run, "face_key_points.py", **environment)
    assert done.returncode == 0, done.stderr
    # Nothing is written or changed outside models/ and results/, and no temporary stays.
    after = contents(dry_run)
    changed = {path.relative_to(dry_run) for path in after if after[path] != before.get(path)}
    assert len(changed) > 8 and {path.parts[0] for path in changed} == {"models", "results"}
    assert not before.keys() - after.keys() and not list(temporary.iterdir())
    assert not [path for path in changed if path.name.startswith(".") or path.suffix == ".npz"]
    written = {file.name for file in (dry_run / "results").iterdir()}
    assert "worst16_in_validation.png" in written and "test_key_points.csv" in written
    report = json.loads((dry_run / "results" / "validation.json").read_text())
    record = json.loads((dry_run / "models" / "dry_run.json").read_text())
    assert report["faces"] == len(record["data"][0]["validation_rows"])


def test_data_is_found_packed_as_kaggle_packs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "HERE", tmp_path)
    (tmp_path / "data").mkdir()
    assert find_data("training") is None
    for name in ("training.zip", "training.csv.gz", "training.csv"):  # each goes before the last
        (tmp_path / "data" / name).touch()
        assert find_data("training").name == name
    assert find_data("test") is None


@pytest.mark.parametrize("name", ["model_builder.py", "face_key_points.py"])
def test_help_answers_without_tensorflow(name):
    code = (
        f"import sys, runpy; sys.argv = [{name!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for flag in ("--model", "--results", "--data"):
        assert flag in done.stdout


def shipped_files():
    """The files in models/ and when each was written (not of all that lies in .venv)."""
    files = (path for path in (ROOT / "models").iterdir() if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "missing.csv"],
        ["--epochs", "0"],
        ["--epochs", "2.5"],
        ["--batch-size", "-3"],
        ["--learning-rate", "nan"],
        ["--validation-split", "1"],
        ["--seed", "-1"],
        ["--precision", "float64"],
        ["--model", "model.h5"],
        ["--init", "missing.keras"],
        ["--results", "/dev/null/results"],
    ],
)
def test_bad_arguments_end_with_status_2_and_write_nothing(arguments, tmp_path, capsys):
    before = shipped_files()
    default = ["--model", str(tmp_path / "m.keras"), "--results", str(tmp_path / "r")]
    try:
        status = mb.main([*default, *arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and "error: " in error
    assert not list(tmp_path.rglob("*.*"))
    assert before == shipped_files()


def test_interrupt_is_said_in_one_line(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    assert run_script([], mb.parse_arguments, interrupted) == 130
    assert "stopped" in capsys.readouterr().err


def test_synthetic_files_are_in_kaggles_format(copy):
    made = script(copy, "-m", "data.synthetic", "--train", "30", "--test", "20")
    assert made.returncode == 0, made.stderr
    training = load_training(copy / "data" / "training.csv")
    assert len(training.rows) == 30 and np.isfinite(training.key_points).all()
    header = pd.read_csv(copy / "data" / "training.csv", nrows=0).columns.tolist()
    assert header == [*COLUMNS, "Image"]
    test = load_faces(copy / "data" / "test.csv")
    assert test.key_points is None and len(test.rows) == 20
    again = script(copy, "-m", "data.synthetic", "--train", "30", "--test", "20")
    assert again.returncode == 2 and "--force" in again.stderr and "Traceback" not in again.stderr
    for cache in copy.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)
    for name in ("training.csv", "test.csv"):
        (copy / "data" / name).unlink()


def test_synthetic_faces_repeat_and_differ(made):
    first, again = made, synthetic_faces(72, 8)
    assert fingerprint(first) == fingerprint(again)
    fewer, other = synthetic_faces(5, 8), synthetic_faces(5, 4)
    np.testing.assert_array_equal(fewer.pictures, first.pictures[:5])
    assert not np.array_equal(fewer.pictures, other.pictures)
    assert fingerprint(synthetic_faces(72, 8, [5, 60])) == fingerprint(first.take([5, 60]))
    centre = first.key_points.mean((0, 1))
    assert (np.abs(centre - [48, 50]) < 8).all()
    # The subject's left is at the larger x, and the face is upright.
    eyes = first.key_points[:, LEFT_EYE] - first.key_points[:, RIGHT_EYE]
    assert (eyes[:, 0] > 0).all()
    top, bottom = (KEY_POINTS.index(f"mouth_center_{which}_lip") for which in ("top", "bottom"))
    assert (first.key_points[:, bottom, 1] > first.key_points[:, top, 1]).mean() > 0.95


def test_real_file_loads_whole(real_training_csv):
    started = time.monotonic()
    faces = load_training(real_training_csv)
    assert faces.pictures.shape == (2140, 96, 96) and np.isfinite(faces.key_points).all()
    training, validation = split_faces(faces)
    assert 380 <= len(validation) <= 520 and len(training) + len(validation) == 2140
    mean_face = faces.key_points[training].mean(0)
    error = rmse(mean_face[None], faces.key_points[validation])
    assert 2.5 < error < 4
    assert time.monotonic() - started < 300


class Kills:
    """Kills the process while it is being destroyed, where Python ignores all exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def kill_in_a_bare_except():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except:  # noqa: E722 - as in Keras
        pass


def kill_while_keras_builds():
    """The signal that was lost: Keras tries out whether a layer can be built by calling it."""
    import keras

    class Layer(keras.layers.Layer):
        def call(self, x):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            return x

    layer = Layer()
    assert not layer._build_by_run_for_single_pos_arg({"x": (None, 2)})


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize("kill", [Kills, kill_in_a_bare_except, kill_while_keras_builds])
def test_a_kill_that_is_swallowed_ends_the_run_all_the_same(kill, monkeypatch, capsys):
    monkeypatch.setattr(signals, "STOP_AGAIN", 0.05)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # or pytest makes a warning of it
    survived = []

    def work(arguments):
        kill()
        survived.append(True)
        time.sleep(60)

    assert run_script([], mb.parse_arguments, work) == 130
    assert survived and "stopped" in capsys.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_test_that_hangs_fails(pytestconfig):
    """By a thread: the timer and the signal of the other method are those of `stoppable`."""
    assert pytestconfig.pluginmanager.hasplugin("timeout")
    assert float(pytestconfig.getini("timeout")) <= 600
    assert pytestconfig.getini("timeout_method") == "thread"


@pytest.mark.usefixtures("signals_at_default")
def test_an_error_that_a_swallowed_kill_led_to_is_a_stop(capsys):
    def work(arguments):
        kill_in_a_bare_except()
        raise ValueError("a layer of the name dense was not built")

    assert run_script([], mb.parse_arguments, work) == 130
    error = capsys.readouterr().err
    assert "stopped" in error and "dense" not in error


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_that_is_heard_is_not_raised_again(number, monkeypatch):
    monkeypatch.setattr(signals, "STOP_AGAIN", 0.05)
    before = [signal.getsignal(each) for each in STOP_SIGNALS]

    def work(arguments):
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
            raise AssertionError("it was not stopped")
        except KeyboardInterrupt:
            assert acknowledge_stop() and not acknowledge_stop()
        time.sleep(0.2)

    assert run_script([], mb.parse_arguments, work) == 0
    assert before == [signal.getsignal(each) for each in STOP_SIGNALS]


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_an_ignored_stop_signal_stays_ignored(number):
    """As in the background of a shell script, and under nohup."""

    def work(arguments):
        os.kill(os.getpid(), number)
        with GentleStop() as stop:
            os.kill(os.getpid(), number)
            assert not stop.asked

    signal.signal(number, signal.SIG_IGN)
    assert run_script([], mb.parse_arguments, work) == 0
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_gentle_stop_asks_first_and_stops_at_the_second_time(number):
    with GentleStop() as stop:
        os.kill(os.getpid(), number)
        assert stop.asked
        if number == signals.HANG_UP:  # the kernel and the shell may both send it
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_without_a_home_a_script_has_a_temporary_one(tmp_path, monkeypatch):
    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    def work(arguments):
        homes.append(Path.home())
        assert homes[0].is_dir() and not list(homes[0].iterdir())

    homes = []
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME")
    monkeypatch.chdir(tmp_path)
    check_backend()  # also for whoever imports a function
    assert run_script([], mb.parse_arguments, work) == 0
    assert homes and not homes[0].exists() and "HOME" not in os.environ
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_script([], mb.parse_arguments, lambda _: homes.append(Path.home())) == 0
    assert homes[1] == tmp_path


def test_freed_memory_is_kept_for_the_next_step():
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    work = (
        "import sys; from resource import RUSAGE_SELF, getrusage\n"
        "from data.system.command_line import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "before = getrusage(RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): b'x' * (1 << 26)\n"  # 64 MB, written to and freed again
        "print(getrusage(RUSAGE_SELF).ru_minflt - before)"
    )
    plain = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    keeping, giving = (
        int(subprocess.check_output([sys.executable, "-c", work, way], cwd=ROOT, env=plain))
        for way in ("keep", "give back")
    )
    assert keeping < giving / 4


def test_tensorflow_uses_onednn_unless_the_user_says_no(monkeypatch):
    name, seen = "TF_ENABLE_ONEDNN_OPTS", []
    monkeypatch.setenv(name, "0")
    assert run_script([], str, lambda _: seen.append(os.environ[name])) == 0
    monkeypatch.delenv(name)
    assert run_script([], str, lambda _: seen.append(os.environ[name])) == 0
    assert seen == ["0", "1"]


def test_the_users_own_allocator_settings_win(monkeypatch):
    asked = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, knob, value):
            asked.append(knob)
            return 1

    monkeypatch.setattr(command_line.ctypes, "CDLL", Library)
    monkeypatch.setattr(command_line.platform, "libc_ver", lambda: ("glibc", "2.36"))
    for _, _, name in ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "131072")
    assert keep_freed_memory() and asked == [-4, -1]
    monkeypatch.setattr(command_line.platform, "libc_ver", lambda: ("", ""))  # musl, macOS, Windows
    assert not keep_freed_memory() and asked == [-4, -1]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8", "cp437"])
def test_what_a_terminal_cannot_show_is_not_fatal(encoding, monkeypatch):
    text = "Łódź.png, caf\udce9, 90 %, …"
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def work(arguments):
        print(text)
        raise InputError(f"{text} is no good.")

    assert run_script([], mb.parse_arguments, work) == 2
    assert {stream.errors for stream in streams.values()} == {"strict"}
    for stream in streams.values():
        stream.flush()
        assert b"dz" in stream.buffer.getvalue().replace("ź".encode(encoding, "ignore"), b"z") or (
            b"d\\u017a" in stream.buffer.getvalue()
        )
    assert streams["stderr"].buffer.getvalue().count(b"\n") == 1


def test_a_script_runs_in_a_thread_and_leaves_the_signals_as_they_were(capsys):
    ran = []
    before = signal.getsignal(signal.SIGTERM)

    def run():
        ran.append(run_script([], mb.parse_arguments, lambda arguments: ran.append("worked")))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    run()
    assert ran == ["worked", 0] * 2 and signal.getsignal(signal.SIGTERM) == before


# MPLBACKEND, and whether it stays; None where that depends on what is installed.
BACKENDS = {
    "module://matplotlib_inline.backend_inline": None,
    "module://no_such_module.backend": None,
    "nonsense": False,
    "inline": None,
    "TkAgg": True,
    "svg": True,
    "agg": True,
    "": None,
}

DRAWS = """
import argparse, os, sys
sys.path.insert(0, '.')
import numpy.ma, PIL.PngImagePlugin, dateutil.rrule, kiwisolver, pyparsing  # once for the forks
from data.system.command_line import run_script

def work(arguments):
    import matplotlib.pyplot
    from results.figures.plots import new_figure, save_figure
    figure = new_figure(2, 2)
    figure.subplots().plot([1, 2])
    save_figure(figure, f'{sys.argv[1]}/{number}.png')

for number, backend in enumerate(sys.argv[2:]):
    os.environ['MPLBACKEND'] = backend
    if os.fork() == 0:
        status = run_script([], lambda argv: argparse.Namespace(), work)
        print(number, status, os.environ.get('MPLBACKEND'), flush=True)
        os._exit(0)
    os.wait()
"""


def test_any_mplbackend_lets_pyplot_be_imported(tmp_path):
    """As Keras does when it is imported."""
    command = [sys.executable, "-c", DRAWS, tmp_path, *BACKENDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[f"{i}", "0"] for i in range(8)], done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {f"{i}.png" for i in range(8)}
    for (backend, kept), (*_, left) in zip(BACKENDS.items(), lines, strict=True):
        assert kept is None or left == (backend if kept else "None"), backend
