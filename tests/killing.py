"""Kill trainings, and processes that save models, at random moments.

    python tests/killing.py FOLDER TRAINING.csv

test_resume.py runs this in a process of its own. It ends with an AssertionError if anything was
lost, and otherwise prints what happened as JSON. Each process that is killed is a fork of this one,
which has imported TensorFlow but not computed with it yet: starting TensorFlow each time would take
much longer than the work that is killed. The network is tiny for the same reason.
"""

import fcntl
import gc
import json
import os
import pty
import random
import shutil
import signal
import sys
import termios
import time
import traceback
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import sklearn.cluster  # noqa: F401  imported once for all forks
import sklearn.model_selection  # noqa: F401
import tensorflow as tf  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import model_builder as mb  # noqa: E402
from data.key_points import SIZE  # noqa: E402
from models.storage import Checkpoint, load_model, save_model, weights_digest  # noqa: E402
from models.training import fit  # noqa: E402

EPOCHS = 9


def tiny_model(dtype="float32", count=15, steepness=1):
    """A network with about 1,000 weights, and the inputs and outputs of the real one.

    `steepness` scales the gradients up.
    """
    picture = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.BatchNormalization()(keras.layers.AveragePooling2D(24)(picture))
    x = keras.layers.Rescaling(steepness)(keras.layers.Flatten()(x))
    key_points = keras.layers.Dense(2 * count, bias_initializer=keras.initializers.Constant(48))(x)
    spread = keras.layers.Dense(count, "softplus", name="spread_raw")(x)
    factors = keras.layers.EinsumDense("nk,k->nk", count, kernel_initializer="ones", name="spread")
    spread = factors(spread)
    return keras.Model(picture, {"key_points": key_points, "spread": spread})


def fork(work):
    """Run work() in a child process; returns its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status or 0)
    return child


def end(child, number=None):
    """Send a signal if there is one, and wait; returns the exit status, negative for a signal."""
    if number:
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def saves(folder):
    """Kill a process 25 times that saves a model again and again without a pause."""
    random.seed(0)
    path, model = folder / "tiny.keras", tiny_model()
    model.compile(keras.optimizers.AdamW(use_ema=True))
    model.optimizer.build(model.trainable_variables)
    checkpoint = Checkpoint(folder / "tiny.resume.npz", {})
    found, halfway = [], 0

    def save(number):
        checkpoint.save(model, [{"number": number}])
        save_model(model, path, {"number": number})

    for number in range(26):
        model.set_weights([np.full(w.shape, number) for w in model.get_weights()])
        if number == 0:  # the earlier good model
            save(number)
            continue

        def save_forever(number=number):
            while True:
                save(number)

        child = fork(save_forever)
        time.sleep(random.uniform(0, 0.2))
        assert end(child, signal.SIGKILL) == -signal.SIGKILL
        halfway += any(file.name.startswith(".") for file in folder.iterdir())
        loaded, record = load_model(path)
        values = {float(value) for weights in loaded.get_weights() for value in weights.ravel()}
        assert len(values) == 1 and values <= set(range(number + 1)), values
        assert record == {} or record["number"] == values.pop(), record
        (last,) = checkpoint.restore(model)
        assert 0 <= last["number"] <= number, last
        found.append(last["number"])
    return {"kills": len(found), "halfway": halfway, "saved": len(set(found))}


def start(folder, data, name, *flags, terminal=()):
    """Start a training into folder/name.keras in a child process; returns its id.

    It writes to folder/name.log or, if given, to a pseudo-terminal (both of its ends).
    """

    def train():
        if terminal:
            master, output = terminal
            os.close(master)
            os.setsid()
            fcntl.ioctl(output, termios.TIOCSCTTY, 0)  # now it is the controlling terminal
        else:
            output = os.open(folder / f"{name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        results = ("--results", str(folder / f"{name}_results"), "--data", str(data))
        batch = ("--batch-size", "8", "--epochs", str(EPOCHS), "--precision", "float32")
        return mb.main(["--model", str(folder / f"{name}.keras"), *results, *batch, *flags])

    return fork(train)


def after_an_epoch(child, checkpoint, log, watch=lambda: None):
    """Wait until some time after the training's next epoch, and call `watch` now and then."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), log.read_text()
        watch()
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.1))


def hang_up(folder, data, name, checkpoint, log):
    """Go on with a training on a terminal that goes, as when ssh loses its connection.

    Returns the same as `end`.
    """
    master, output = pty.openpty()
    os.set_blocking(master, False)
    child = start(folder, data, name, "--resume", terminal=(master, output))
    os.close(output)

    def read():
        with suppress(BlockingIOError):
            os.read(master, 1 << 16)

    after_an_epoch(child, checkpoint, log, read)
    os.close(master)
    return end(child)


def epochs_of(path):
    """The number of epochs that a saved model was trained for, by its record."""
    return json.loads(path.with_suffix(".json").read_text())["results"]["epochs"]


def trainings(folder, data):
    """Kill or stop a training five times, then let it finish.

    Returns the exit status of each part and the names of the remaining files.
    """
    random.seed(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    fit.build_model = tiny_model
    fit.fit_spread = lambda *_: None  # test_resume.py stops trainings that learn it
    assert end(start(folder, data, "unbroken")) == 0, (folder / "unbroken.log").read_text()
    path, log = folder / "broken.keras", folder / "broken.log"

    checkpoint = folder / "broken.resume.npz"

    def stopped(number, *flags):
        """The exit status of a training that gets a signal some time after an epoch."""
        child = start(folder, data, "broken", *flags)
        after_an_epoch(child, checkpoint, log)
        return end(child, number)

    statuses = [stopped(signal.SIGKILL)]
    assert not path.exists()
    statuses.append(stopped(signal.SIGTERM, "--resume"))
    said_and_saved(path, log)
    log.unlink()
    terminated = path.read_bytes()
    statuses.append(stopped(signal.SIGKILL, "--resume"))
    assert path.read_bytes() == terminated
    for ending in (".keras", ".json"):  # an earlier good model
        shutil.copy(folder / f"unbroken{ending}", path.with_suffix(ending))
    earlier = path.read_bytes()
    statuses.append(stopped(signal.SIGINT, "--resume"))
    assert path.read_bytes() == earlier
    interrupted = epochs_of(folder / "broken.stopped.keras")
    statuses.append(hang_up(folder, data, "broken", checkpoint, log))
    assert path.read_bytes() == earlier
    assert 1 <= interrupted < epochs_of(folder / "broken.stopped.keras") < EPOCHS
    assert end(start(folder, data, "broken", "--resume")) == 0, log.read_text()
    assert path.read_bytes() != earlier  # written again, dates and all
    assert epochs_of(path) == EPOCHS
    text = log.read_text()
    assert f"epoch   1/{EPOCHS}" not in text and f"epoch   {EPOCHS}/{EPOCHS}" in text
    return statuses, sorted(file.name for file in folder.glob("broken*"))


def said_and_saved(path, log):
    """Assert what a training leaves whose first run was stopped by SIGTERM."""
    done = epochs_of(path)
    assert 1 <= done < EPOCHS
    assert log.read_text().splitlines()[-1] == (
        f"stopped; epoch {done} of {EPOCHS} is saved as {path}. To go on, give the same command"
        " with --resume."
    )


def compare(folder):
    """Assert that the training ended with weights bit-identical to those of the unbroken one."""
    names = ("unbroken", "broken", "broken.stopped")
    models = (load_model(folder / f"{name}.keras")[0] for name in names)
    unbroken, broken, stopped = map(weights_digest, models)
    assert unbroken == broken != stopped


if __name__ == "__main__":
    gc.freeze()  # so that these objects stay shared with the forks
    place, data = map(Path, sys.argv[1:])
    happened = dict(zip(("statuses", "left"), trainings(place, data), strict=True))
    compare(place)  # after this, TensorFlow has computed here: later forks may only save
    print(json.dumps(happened | saves(place)))
