"""Stopped and killed trainings: nothing is lost, and they end as the unbroken one does."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, train_in_few_steps, write_csv

import model_builder as mb
from data.key_points import rmse
from data.system.files import InputError
from models.network import predict
from models.storage import Checkpoint, load_model, unfinished, weights_digest
from models.training import progress
from models.training.fit import unwrapped_interrupts
from models.training.progress import write_log


@pytest.fixture(scope="module")
def happened(faces, tmp_path_factory):
    """What killing.py says; it has a process of its own, where TensorFlow has not computed yet."""
    folder = tmp_path_factory.mktemp("killed")
    data = write_csv(folder / "few.csv", faces.pictures[:40], faces.key_points[:40])
    command = [sys.executable, str(ROOT / "tests" / "killing.py"), str(folder), str(data)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_kills_during_saving_leave_a_whole_model(happened):
    assert happened["kills"] == 25
    assert happened["halfway"] >= 3  # kills that really hit a file being written
    assert happened["saved"] >= 5


def test_killed_and_resumed_training_ends_at_the_same_bits(happened):
    """What is said and saved on the way, killing.py asserts."""
    assert happened["statuses"] == [-signal.SIGKILL, 130, -signal.SIGKILL, 130, 130]


def test_nothing_is_left_of_the_parts_of_a_training(happened):
    assert happened["left"] == [
        *("broken.json", "broken.keras", "broken.log"),
        *("broken.stopped.json", "broken.stopped.keras", "broken_results"),
    ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small compiled model and its checkpoint."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.AdamW(use_ema=True))
    model.optimizer.build(model.trainable_variables)
    made = Checkpoint(tmp_path_factory.mktemp("c") / "m.resume.npz", {"epochs": 5, "data": [1]})
    made.save(model, [{"epoch": 1}])
    return model, made


def test_checkpoint_gives_everything_back(checkpoint):
    model, made = checkpoint
    before = [v.numpy().copy() for v in [*model.variables, *model.optimizer.variables]]
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(variable + 1)
    assert made.restore(model) == [{"epoch": 1}]
    after = [*model.variables, *model.optimizer.variables]
    assert len(after) > 7  # weights, two moments and the average of each, steps, learning rate
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_other_settings_data_or_network_are_named(checkpoint):
    import keras

    model, made = checkpoint
    with pytest.raises(
        InputError, match="of a training with epochs 5, not 9; resume with the same flags, da"
    ):
        Checkpoint(made.path, made.run | {"epochs": 9}).restore(model)
    with pytest.raises(InputError, match="with other data; resume with the same"):
        Checkpoint(made.path, made.run | {"data": [2]}).restore(model)
    # What an earlier version wrote goes on where a new setting is off, and is refused where not.
    assert Checkpoint(made.path, made.run | {"alike": []}).restore(model) == [{"epoch": 1}]
    with pytest.raises(InputError, match="an earlier version .* did not have alike; resume"):
        Checkpoint(made.path, made.run | {"alike": ["nose_tip"]}).restore(model)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    other.compile(keras.optimizers.AdamW(use_ema=True))
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(InputError, match="of another network"):
        made.restore(other)


def test_broken_checkpoints_are_one_sentence(checkpoint, tmp_path):
    model, made = checkpoint
    whole = made.path.read_bytes()
    broken = Checkpoint(tmp_path / "broken.npz", made.run)
    with pytest.raises(InputError, match="does not exist: there is no training to resume"):
        broken.restore(model)
    before = model.get_weights()
    rng = np.random.default_rng(0)
    cases = [b"", b"not a checkpoint", whole[:1000], whole[:-1]]
    for at in rng.integers(0, len(whole), 200):
        cases.append(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
    refused = 0
    for content in cases:
        broken.path.write_bytes(content)
        try:
            broken.restore(model)
        except InputError as error:
            assert str(broken.path) in str(error) and "\n" not in str(error)
            refused += 1
        for a, b in zip(before, model.get_weights(), strict=True):  # never a wrong number
            assert np.array_equal(a, b)
    assert refused > 100


def test_ctrl_c_saves_and_says_how_to_go_on(tiny, faces, tmp_path, monkeypatch, capsys):
    train_in_few_steps(monkeypatch)  # killing.py stops and resumes trainings with graphs
    data = write_csv(tmp_path / "few.csv", faces.pictures[:40], faces.key_points[:40])
    flags = [*("--data", str(data), "--batch-size", "8", "--epochs", "3", "--precision", "float32")]

    def run(name, *more):
        paths = ["--model", str(tmp_path / f"{name}.keras"), "--results", str(tmp_path / "r")]
        return mb.main([*paths, *flags, *more])

    def interrupted(path, history, write=write_log):
        write(path, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    model, record = tmp_path / "m.keras", tmp_path / "m.json"
    (tmp_path / "m.resume.npz").write_text("left by an earlier training")
    with monkeypatch.context() as patched:
        patched.setattr(progress, "write_log", interrupted)
        assert run("m") == 130
        printed, error = capsys.readouterr()
        assert "starting anew" in printed
        assert f"epoch 2 of 3 is saved as {model}. To go on" in error and "--resume" in error
        assert json.loads(record.read_text())["results"]["epochs"] == 2
        # What was saved is what the last line of the log measured.
        stopped = json.loads(record.read_text())["results"]["validation"][0]["rmse_px"]
        log = np.genfromtxt(tmp_path / "r" / "training_log.csv", delimiter=",", names=True)
        assert len(log) == 2 and log["validation_rmse_px"][-1] == pytest.approx(stopped, rel=1e-5)

        assert run("m", "--resume", "--seed", "9") == 2
        assert "of a training with seed 0, not 9 and other data" in capsys.readouterr().err

    assert run("m", "--resume") == 0
    printed = capsys.readouterr().out
    assert "epoch   3/3" in printed and "epoch   2/3" not in printed
    assert run("whole") == 0
    assert (
        len({weights_digest(load_model(tmp_path / f"{n}.keras")[0]) for n in ("m", "whole")}) == 1
    )
    log = np.genfromtxt(tmp_path / "r" / "training_log.csv", delimiter=",", names=True)
    assert log["epoch"].tolist() == [1, 2, 3] and (np.diff(log["seconds"]) >= 0).all()
    assert not list(tmp_path.glob("*.npz"))


def test_killed_after_the_last_epoch(tiny, faces, tmp_path, monkeypatch):
    """Everything is trained and nothing saved: resuming gives the same without an epoch more."""
    train_in_few_steps(monkeypatch)
    settings = mb.Settings(epochs=2, batch_size=8, learning_rate=0.1)
    some = faces.take(slice(0, 24)), faces.take(slice(24, 32))
    checkpoint = Checkpoint(tmp_path / "c.npz", {})
    first, history, _ = mb.train(*some, settings, checkpoint=checkpoint)
    # The error watched is that of the averaged weights, which are what is returned.
    error = rmse(predict(first, some[1].pictures)[0], some[1].key_points)
    assert history[-1]["validation_rmse_px"] == pytest.approx(error, rel=1e-5)
    again, same, _ = mb.train(*some, settings, checkpoint=checkpoint, resume=True)
    assert same == history and weights_digest(first) == weights_digest(again)
    _, unsaved, _ = mb.train(*some, settings)  # the checkpoint changes nothing
    assert [line["loss"] for line in unsaved] == [line["loss"] for line in history]


def test_resume_with_nothing_there_is_an_error(tmp_path, capsys):
    status = mb.main(["--resume", "--model", str(tmp_path / "m.keras"), "--results", str(tmp_path)])
    assert status == 2 and not list(tmp_path.iterdir())
    error = capsys.readouterr().err
    assert "m.resume.npz does not exist" in error and error.count("\n") == 1


def test_a_finished_model_is_not_replaced_by_a_stopped_one(tmp_path):
    path = tmp_path / "m.keras"
    assert unfinished(path)
    path.touch()
    assert not unfinished(path)  # whatever it is
    record = path.with_suffix(".json")
    for text, expected in (
        ('{"settings": {"epochs": 5}, "results": {"epochs": 5}}', False),
        ('{"settings": {"epochs": 5}, "results": {"epochs": 3}}', True),
        ("[]", False),
        ("{", False),
    ):
        record.write_text(text)
        assert unfinished(path) == expected


def test_an_interrupt_that_tensorflow_wrapped_is_one():
    with pytest.raises(KeyboardInterrupt), unwrapped_interrupts():
        raise RuntimeError("UNKNOWN: KeyboardInterrupt: \n at iterator")
    with pytest.raises(RuntimeError, match="something else"), unwrapped_interrupts():
        raise RuntimeError("something else")
