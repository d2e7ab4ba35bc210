"""Train alone, with a second worker, on two devices; test_workers.py runs this in its own process.

    python tests/workers.py FOLDER TRAINING.csv

Leaves in FOLDER what each training wrote, and as <name>.npz its last checkpoint; prints the exit
statuses as JSON. The processes are forks for the reason given in killing.py; the network is tiny.
"""

import gc
import json
import os
import shutil
import socket
import sys
from functools import partial, partialmethod
from pathlib import Path

import keras
from killing import end, fork, tiny_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import model_builder as mb  # noqa: E402
from models.training import fit, progress  # noqa: E402

FLAGS = ("--epochs", "3", "--batch-size", "64", "--precision", "float32")


def free_ports(count):
    """Numbers of TCP ports that nobody uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(folder, data, name, *flags, worker=None, ports=()):
    """A training in a fork of this process; returns its process id."""

    def train():
        log = os.open(folder / f"{name}{worker or 0}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if worker is not None:
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            task = {"type": "worker", "index": worker}
            os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        if name == "mirrored":
            import tensorflow as tf

            (cpu,) = tf.config.list_physical_devices("CPU")
            devices = [tf.config.LogicalDeviceConfiguration()] * 2
            tf.config.set_logical_device_configuration(cpu, devices)
            fit.share_among_gpus = lambda _: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        learn_spread, write = fit.fit_spread, progress.write_log

        def keep_checkpoint(*arguments):
            shutil.copy(folder / name / "m.resume.npz", folder / f"{name}.npz")
            # Its few steps are over before TensorFlow has made a graph of them.
            keras.Model.compile = partialmethod(keras.Model.compile, run_eagerly=True)
            learn_spread(*arguments)

        def keep_first_epoch(path, history):
            write(path, history)
            if name == "one" and len(history) == 1:
                shutil.copy(folder / "one" / "m.resume.npz", folder / "resumed")

        fit.build_model = partial(tiny_model, steepness=30)  # so that gradients are clipped
        fit.fit_spread, progress.write_log = keep_checkpoint, keep_first_epoch
        # A worker who wrote would leave a second folder.
        own = folder / (f"{name}_worker{worker}" if worker else name)
        (folder / name).mkdir(exist_ok=True)
        paths = ("--model", folder / name / "m.keras", "--results", own, "--data", data)
        return mb.main([*map(str, paths), *FLAGS, *flags])

    return fork(train)


def main(folder, data):
    (folder / "resumed").mkdir()
    statuses = {name: end(start(folder, data, name)) for name in ("one", "mirrored")}
    ports = free_ports(4)
    for name, pair, flags in (("two", ports[:2], ()), ("resumed", ports[2:], ("--resume",))):
        both = [start(folder, data, name, *flags, worker=i, ports=pair) for i in (0, 1)]
        statuses[name] = [end(each) for each in both]
    print(json.dumps(statuses))


if __name__ == "__main__":
    gc.freeze()  # as in killing.py
    main(*map(Path, sys.argv[1:]))
