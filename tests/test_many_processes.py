"""face_key_points.py --image in several processes and on a cluster; a photo that crashes one."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clips import new_tracker, write_clip
from conftest import ROOT
from for_processes import raise_for_three, square_or_die
from PIL import Image
from stand_ins import (
    detect_or_die,
    detect_or_kill_once,
    photos_in,
    run,
    stand_in_detect,
    stand_in_model,
)

from data.system.files import InputError
from models.export.quick import quick_path
from models.storage import SHIPPED, load_landmarker
from results import photos as photos_module
from results import videos as videos_module
from results.batch import cluster as cluster_module
from results.batch.processes import Crash, Processes, in_order, process_count


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(photos_module, "load_for_photos", stand_in_model)
    monkeypatch.setattr(photos_module, "detect", stand_in_detect)


@pytest.fixture(scope="module")
def two_processes():
    workers = Processes(2)
    yield workers
    workers.stop()


def test_results_come_in_order_and_a_crash_costs_one_item(two_processes):
    given = []
    items = (given.append(i) or i for i in range(40))
    results = in_order(two_processes, square_or_die, items)
    assert next(results) == (0, 0)
    assert len(given) < 12  # a window, however many there are
    results = dict(results)
    assert list(results) == list(range(1, 40))
    crashed = {i: r for i, r in results.items() if isinstance(r, Crash)}
    assert {i: str(crash) for i, crash in crashed.items()} == {7: "SIGKILL(-9)"}
    assert all(r == i**2 for i, r in results.items() if i not in crashed)


def test_what_a_function_raises_in_a_process_is_raised_here(two_processes):
    with pytest.raises(InputError, match="the model is broken"):
        list(in_order(two_processes, raise_for_three, range(9)))


def test_workers_may_come_and_go():
    class Threads:
        crashes = ()
        counts = iter([3, 1, 1, 2] + [1] * 30)
        pool = ThreadPoolExecutor(1)

        @property
        def count(self):
            return next(self.counts)

        def submit(self, function, item):
            return self.pool.submit(function, item)

    with Threads.pool:
        assert list(in_order(Threads(), str, range(30))) == [(i, str(i)) for i in range(30)]


def test_a_photo_that_crashes_its_process_is_named_and_the_rest_done(
    stand_in, tmp_path, monkeypatch, capsys
):
    photos_in(tmp_path / "p", 20)
    flags = "--image", tmp_path / "p", "--no-pictures", "--results"
    assert run(*flags, tmp_path / "whole", "--jobs", 1) == 0
    monkeypatch.setattr(photos_module, "detect", detect_or_die)
    monkeypatch.setattr(photos_module, "load_landmarker", stand_in_model)
    assert run(*flags, tmp_path / "r", "--jobs", 2) == 2
    error = capsys.readouterr().err
    assert "00006.png crashed the process that looked at it (EXIT(1)), or took more" in error
    assert error.count("\n") == 2 and "1 of 20 photos could not be" in error
    whole = (tmp_path / "whole" / "key_points.csv").read_text().splitlines()
    rows = (tmp_path / "r" / "key_points.csv").read_text().splitlines()
    assert rows == [line for line in whole if "00006.png" not in line]


def test_videos_are_tracked_in_processes_too(tracker, tmp_path, monkeypatch, capsys):
    pytest.importorskip("av", reason="videos need av (PyAV), which is an extra")
    for name, count in (("a", 5), ("b", 8)):
        write_clip(tmp_path / f"{name}.mp4", count=count)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    monkeypatch.setattr(videos_module, "load_landmarker", stand_in_model)
    monkeypatch.setattr(videos_module, "make_tracker", new_tracker)
    flags = "--video", *sorted(tmp_path.glob("*.mp4")), "--results"
    assert run(*flags, tmp_path / "one") == 2
    said = capsys.readouterr()
    assert run(*flags, tmp_path / "two", "--jobs", 2) == 2
    assert capsys.readouterr().err == said.err and "c.mp4 cannot be read" in said.err
    names = [f"{name}_key_points{end}" for name in "ab" for end in (".csv", ".mp4")]
    assert sorted(file.name for file in (tmp_path / "two").iterdir()) == names
    for name in names:
        assert (tmp_path / "two" / name).stat().st_size > 1000
    for name in names[::2]:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_as_many_processes_as_pay(monkeypatch):
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sysconf", lambda name: 1 << 20)
    assert [process_count(n, 100) for n in (0, 3, 199, 200, 750, 10**6)] == [1, 1, 1, 2, 7, 8]
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 5}.get(name, 1 << 30))
    assert process_count(10**6, 100) == 2  # 5 GB
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert process_count(10**6, 100) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_die_with_the_run(number, tmp_path):
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from data.system.signals import stoppable
from results.batch.processes import Processes, in_order
with stoppable():
    workers = Processes(2)
    try:
        for _ in in_order(workers, time.sleep, [0, 0, 0, 100, 100]):
            children = [p.pid for p in workers._pool._processes.values()]
            print(*children, flush=True)
    finally:
        workers.stop()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    children = {int(pid) for _ in range(3) for pid in child.stdout.readline().split()}
    assert len(children) == 2
    child.send_signal(number)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_worker_of_a_cluster_that_dies_loses_nothing(stand_in, tmp_path, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed", reason="an extra for several machines")
    folder = photos_in(tmp_path / "p", 30)
    monkeypatch.chdir(tmp_path)
    flags = "--image", folder.name, "--no-pictures", "--results"
    assert run(*flags, "whole") == 0
    monkeypatch.setattr(photos_module, "load_landmarker", stand_in_model)
    monkeypatch.setattr(photos_module, "detect", detect_or_kill_once)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where the workers are
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        monkeypatch.chdir(tmp_path)
        assert run(*flags, "r", "--cluster", cluster.scheduler_address) == 0
    assert (tmp_path / "killed").exists()
    tables = [(tmp_path / r / "key_points.csv").read_bytes() for r in ("whole", "r")]
    assert tables[0] == tables[1]
    assert "30 photos: 43 face(s)" in capsys.readouterr().out


def test_a_cluster_that_is_not_there_is_one_sentence(stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 2)
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r"
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(*flags, "--cluster", "tcp://127.0.0.1:1") == 2
    error = capsys.readouterr().err
    assert "needs Dask" in error and "'dask[distributed]'" in error and error.count("\n") == 1
    monkeypatch.undo()
    pytest.importorskip("distributed", reason="an extra for several machines")
    monkeypatch.setattr(cluster_module, "ANSWER", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        cluster_module.Cluster("tcp://127.0.0.1:1")


def test_two_processes_find_what_one_finds(tmp_path, monkeypatch, capsys):
    """The real network, and pictures and crops."""
    pytest.importorskip("ai_edge_litert", reason="an extra: with Keras this takes long to start")
    from matplotlib.cbook import get_sample_data

    loaded = load_landmarker(quick_path(SHIPPED))
    monkeypatch.setattr(photos_module, "load_for_photos", lambda path: loaded)
    (tmp_path / "p").mkdir()
    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photo:
        for i in range(3):
            photo.crop((106, 50 + 9 * i, 426, 410)).save(tmp_path / "p" / f"{i}.png")
    Image.new("L", (50, 50), 90).save(tmp_path / "p" / "none.png")
    (tmp_path / "p" / "broken.png").write_bytes(b"nothing")
    flags = "--image", tmp_path / "p", "--crops", "--results"
    said = []
    for jobs in (1, 2):
        assert run(*flags, tmp_path / f"r{jobs}", "--jobs", jobs) == 2
        output = capsys.readouterr()
        lines = output.out.replace(f"/r{jobs}/", "/r/").splitlines()
        said.append([line for line in lines if ".png" in line] + [output.err])
    assert said[0] == said[1] and "2.png: 1 face(s), pictured in" in said[0][2]
    files = [
        {path.relative_to(folder) for path in folder.rglob("*.png")}
        for folder in (tmp_path / "r1", tmp_path / "r2")
    ]
    assert files[0] == files[1] and len(files[0]) == 6
    tables = [(tmp_path / r / "key_points.csv").read_bytes() for r in ("r1", "r2")]
    assert tables[0] == tables[1] and tables[0].count(b"\n") == 4
