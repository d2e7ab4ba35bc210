"""`model_builder.py` with its batches augmented by several processes, for a GPU.

    KERAS_BACKEND=jax python tests/benchmarks/many_cores.py 14 --data training.csv --epochs 75

A single process would keep a GPU waiting: one core augments about a thousand faces a second. The
first argument is the number of processes; all others are those of `model_builder.py`, which trains
on the very same batches. A checkpoint is written only after every tenth epoch.
"""

import multiprocessing
import os
import sys
import tempfile
from collections import deque
from functools import cache, partial
from pathlib import Path

import common  # noqa: F401
import numpy as np

import model_builder as mb
from data.batches import draw_batch, epoch_batches
from models.storage import Checkpoint
from models.training import fit, progress

AHEAD = 4  # batches queued for each process
EVERY = 10  # epochs from one checkpoint to the next


def open_faces(folder, faces):
    """In a worker: open the faces, their arrays mapped from `folder` and so shared by all."""
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in Path(folder).glob("*.npy")}
    draw.faces = faces._replace(**arrays)


def draw(settings, epoch, start, rows):
    """In a worker: one batch."""
    return draw_batch(draw.faces, settings, epoch, start, rows)


def drawn_by(processes, faces, settings, first_epoch=0, worker=0, workers=1):
    """The batches of `data.batches.batches`, from several processes."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None  # memory, on Linux
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        for name in ("pictures", "key_points", "source"):
            np.save(Path(folder, f"{name}.npy"), getattr(faces, name))
        start_with = folder, faces.take(slice(0))
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(processes, open_faces, start_with) as pool:
            under_way, epoch = deque(), first_epoch
            while True:
                for start, rows in epoch_batches(faces, settings, epoch):
                    under_way.append(pool.apply_async(draw, (settings, epoch, start, rows)))
                    if len(under_way) > AHEAD * processes:
                        yield under_way.popleft().get()
                epoch += 1


@cache
def compiled(model):
    """A function of a model's variables and inputs, compiled by JAX."""
    import jax

    def output(trained, others, picture, source):
        return model.stateless_call(trained, others, [picture, source], training=False)[0]

    return jax.jit(output)


def compiled_output(model, inputs):
    """`model_output` under JAX, compiled: layer by layer it takes seconds."""
    variables = [[v.value for v in model.trainable_variables]]
    variables += [[v.value for v in model.non_trainable_variables]]
    parts = []
    for start in range(0, len(inputs[0]), 256):
        found = compiled(model)(*variables, *(part[start : start + 256] for part in inputs))
        parts.append({name: np.asarray(found[name]) for name in found})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class SeldomCheckpoint(Checkpoint):
    """A checkpoint that is written after every tenth epoch: here an epoch takes only seconds."""

    def save(self, model, history):
        if len(history) % EVERY == 0:
            super().save(model, history)


def main(argv):
    """Train as `model_builder.py` does; returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers
    fit.batches = partial(drawn_by, int(argv[0]))
    mb.Checkpoint = SeldomCheckpoint
    if os.environ.get("KERAS_BACKEND") == "jax":
        progress.model_output = compiled_output
    return mb.main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
