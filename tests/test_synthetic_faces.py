"""data/synthetic/faces.py: processes that draw faces together, and what happens when one dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from data.synthetic import faces
from data.synthetic.faces import draw_face, make_faces


def test_a_face_depends_on_its_seed_and_number_alone():
    pictures, key_points = make_faces(6, seed=7, workers=2, indices=[3, 900, 4])
    for i, number in enumerate((3, 900, 4)):
        picture, points = draw_face(7, number)
        np.testing.assert_array_equal(pictures[i], picture)
        np.testing.assert_array_equal(key_points[i], points)


def test_a_script_without_a_main_guard_draws_with_several_processes(tmp_path):
    """Its processes are fresh interpreters that do not run the script again."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); print('once')\n"
        "from data.synthetic.faces import make_faces; print(make_faces(4, workers=2)[0].shape)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "drawing" not in line]
    assert lines == ["once", "(4, 96, 96)"] and done.returncode == 0, done.stderr


def test_a_worker_that_is_killed_is_an_error(monkeypatch):
    def killed(seed, index):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(faces, "draw_face", killed)
    with pytest.raises(RuntimeError, match="SIGKILL"):
        make_faces(4, seed=4, workers=2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_workers_end_when_their_parent_is_killed():
    command = [sys.executable, "-c"]
    command += ["from data.synthetic.faces import make_faces; make_faces(9999, workers=2)"]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    parent.stdout.readline()  # the progress: they are drawing
    assert len(running_in_session(parent.pid)) >= 3
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 60
    while running_in_session(parent.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert not running_in_session(parent.pid)


def running_in_session(number):
    """The processes of a session that have not ended."""
    running = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = file.read_text().rpartition(") ")[2].split()
        except (OSError, ValueError):  # it has just ended
            continue
        if int(session) == number and state != "Z":
            running.append(int(file.parent.name))
    return running
