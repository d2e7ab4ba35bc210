"""The lock on what a training writes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, write_csv

import model_builder as mb
from data.system.files import InputError
from data.system.lock import locked

HOLD = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from data.system.lock import locked
with locked(Path({path!r}), "m.keras", "wait"):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(path):
    """A process that holds the lock of `path`, once it does."""
    code = HOLD.format(root=str(ROOT), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    return child


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_says_who_holds_it_and_dies_with_its_process(kind, number, tmp_path):
    path = tmp_path / "m.keras" if kind == "file" else tmp_path
    child = hold(path)
    try:
        said = rf"^m.keras is being written by process {child.pid} on .+ since 20.+; wait\.$"
        with pytest.raises(InputError, match=said), locked(path, "m.keras", "wait"):
            pass
    finally:
        child.send_signal(number)
        child.wait()
        child.stdout.close()
    assert list(tmp_path.iterdir())  # the dead process could not take its file away
    with locked(path, "m.keras", "wait"):
        (lock,) = tmp_path.iterdir()
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_threads_lock_one_another_out(tmp_path):
    seen = []

    def other():
        try:
            with locked(tmp_path / "m.keras", "m.keras", "wait"):
                seen.append("held")
        except InputError as error:
            seen.append(str(error))

    with locked(tmp_path / "m.keras", "m.keras", "wait"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"process {os.getpid()}" in seen[0]
    other()
    assert seen[1] == "held"


def test_many_take_turns(tmp_path):
    """Each that gets the lock is alone, however often the file is removed and made again."""
    inside, most, got = 0, 0, 0

    def work():
        nonlocal inside, most, got
        for _ in range(50):
            try:
                with locked(tmp_path / "m", "m", "wait"):
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0.0005)
                    inside -= 1
                    got += 1
            except InputError:
                time.sleep(0.0002)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and got >= 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shared", ["model", "results"])
def test_a_second_training_in_the_same_place_is_refused(shared, faces, tmp_path, capsys):
    data = write_csv(tmp_path / "few.csv", faces.pictures[:4], faces.key_points[:4])
    places = {name: tmp_path / name for name in ("model", "results", "other")}
    for place in places.values():
        place.mkdir()
    held = places["model"] / "m.keras" if shared == "model" else places["results"]
    child = hold(held)
    flags = ["--data", data, "--model", places["model"] / "m.keras", "--results", places["results"]]
    try:
        assert mb.main([str(flag) for flag in flags]) == 2
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    error = capsys.readouterr().err
    assert f"process {child.pid} on " in error and error.count("\n") == 1
    assert f"give another --{shared}" in error
    assert not (places["results"] / "training_log.csv").exists()
