"""models/training/workers.py: two workers or devices train what one does."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, write_csv

import model_builder as mb
from data.system.files import InputError
from models.storage import load_model
from models.training.workers import Worker, check_batch_size, find_worker

CLUSTER = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


@pytest.fixture(scope="module")
def trainings(faces, tmp_path_factory):
    """What workers.py leaves: the folder. Some rows have few points, and so an offset."""
    folder = tmp_path_factory.mktemp("workers")
    key_points = faces.key_points.copy()
    key_points[5::8, 4:] = np.nan
    data = write_csv(folder / "few.csv", faces.pictures, key_points)
    command = [sys.executable, ROOT / "tests" / "workers.py", folder, data]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    logs = "".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))
    assert done.returncode == 0, done.stderr + logs
    statuses = json.loads(done.stdout.splitlines()[-1])
    assert statuses == {"one": 0, "mirrored": 0, "two": [0, 0], "resumed": [0, 0]}, logs
    return folder


@pytest.mark.parametrize("name", ["two", "resumed", "mirrored"])
def test_two_workers_or_devices_train_what_one_does(trainings, name):
    with np.load(trainings / "one.npz") as one, np.load(trainings / f"{name}.npz") as two:
        histories = [json.loads(str(file["note"]))["history"] for file in (one, two)]
        states = [[file[f"arr_{i}"] for i in range(len(file.files) - 1)] for file in (one, two)]
    # Weights, batch statistics, the gradients' averages (they tell a wrong scale, which AdamW's
    # steps would hide) and the weights' averages.
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())
    for a, b in zip(*histories, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["validation_rmse_px"] == pytest.approx(a["validation_rmse_px"], rel=1e-4)
    alone, shared = (load_model(trainings / each / "m.keras") for each in ("one", name))
    for a, b in zip(alone[0].get_weights(), shared[0].get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-2, atol=1e-2 * np.abs(a).max())
    assert "'synchronized': True" not in str(shared[0].get_config())  # a plain network is saved


def test_only_the_first_worker_writes_and_talks(trainings):
    assert {path.name for path in (trainings / "two").iterdir()} == {
        *("m.keras", "m.json", "training_log.csv", "training_process.png")
    }
    assert not list(trainings.glob("*_worker1"))
    assert "validation RMSE" in (trainings / "two0.log").read_text()
    assert "epoch" not in (trainings / "two1.log").read_text()


def test_tf_config_is_read_as_tensorflow_reads_it(monkeypatch):
    def found(config):
        monkeypatch.setenv("TF_CONFIG", json.dumps(config) if config else "")
        return find_worker()

    assert found(None) == Worker(0, 1)
    assert found({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}) == Worker(1, 2)
    with_chief = CLUSTER | {"chief": ["10.0.0.3:1"]}
    assert found({"cluster": with_chief, "task": {"type": "worker", "index": 1}}) == Worker(2, 3)
    assert found({"cluster": with_chief, "task": {"type": "chief", "index": 0}}) == Worker(0, 3)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("not JSON", "Expecting value"),
        ("[]", "list indices"),
        ("{}", "'cluster' is missing"),
        (json.dumps({"cluster": CLUSTER}), "'task' is missing"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, "no worker 2"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": -1}}, "no worker -1"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": "0"}}, "not supported"),
        ({"cluster": CLUSTER, "task": {"type": "ps", "index": 0}}, "'ps' is missing"),
        ({"cluster": {"worker": ["here"]}, "task": {"type": "worker", "index": 0}}, "host:port"),
        ({"cluster": {"worker": ["a:1"] * 2}, "task": {"type": "worker", "index": 0}}, "twice"),
    ],
)
def test_a_broken_tf_config_is_one_sentence(config, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    flags = ["--model", str(tmp_path / "m" / "m.keras"), "--results", str(tmp_path / "r")]
    assert mb.main(["--dry-run", *flags]) == 2
    error = capsys.readouterr().err
    assert "TF_CONFIG" in error and reason in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_shared_is_one_sentence():
    def worker(count, replicas):
        return Worker(0, count, type("Strategy", (), {"num_replicas_in_sync": replicas}))

    check_batch_size(96, 10, Worker())
    with pytest.raises(InputError, match="--batch-size 96 cannot.* multiple of 64"):
        check_batch_size(96, 1000, worker(2, 4))
    with pytest.raises(InputError, match="95 faces to train on are too few"):
        check_batch_size(96, 95, worker(3, 3))
    check_batch_size(96, 96, worker(3, 3))
