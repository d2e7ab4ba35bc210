"""Running exported models by LiteRT or ONNX Runtime, without TensorFlow and Keras."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from data.key_points import SIZE
from data.system.files import InputError, one_line

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]

# The runtime of each kind of file: the module to import, the package to install.
RUNTIMES = {
    ".tflite": ("ai_edge_litert.interpreter", "ai-edge-litert>=2.1,<3"),
    ".onnx": ("onnxruntime", "onnxruntime>=1.20,<2"),
}


class Loaded(NamedTuple):
    """A file in its runtime."""

    run: Runner  # from float32 pictures (N, 96, 96, 1) to the outputs by name
    picture: list[Any]  # the input's shape; the first number is the batch size
    outputs: dict[str, list[Any]]  # the outputs' shapes by name


class Exported:
    """An exported model with the parts of keras.Model that `predict` and `load_model` use.

    It works in forked processes and can be pickled, as processes that are spawned need it.
    """

    def __init__(self, content: bytes, load: Callable[[bytes], Loaded]) -> None:
        """`content`: of the file; `load`: `load_litert` or `load_onnx`."""
        self._parts = content, load
        self.predict_on_batch, picture, outputs = load(content)
        self.input_shape = (None, *picture[1:])
        self.output = {
            name: SimpleNamespace(shape=(None, *shape[1:])) for name, shape in outputs.items()
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return Exported, self._parts


def why_not_imported(module: str) -> str:
    """Import a runtime; returns why it cannot be imported, empty where it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken package, or one too old for this NumPy, raises all kinds
        return one_line(error)
    return ""


def open_exported(path: Path) -> Exported:
    """Load a .tflite or .onnx file.

    Raises InputError if it is broken, or its runtime is not installed or broken.
    """
    module, package = RUNTIMES[path.suffix]
    if reason := why_not_imported(module):
        raise InputError(
            f"{path} needs a package that cannot be imported ({reason}); install it with:"
            f" pip install '{package}'"
        )
    try:
        return Exported(path.read_bytes(), load_litert if path.suffix == ".tflite" else load_onnx)
    except Exception as error:  # the runtimes raise all kinds
        raise InputError(
            f"{path} cannot be loaded ({one_line(error):.200}); export it again or copy it again."
        ) from None


def load_onnx(content: bytes) -> Loaded:
    """Load an .onnx file's content into ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: one per core
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    outputs = {output.name: output.shape for output in session.get_outputs()}

    def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(list(outputs), {picture.name: pictures})
        return dict(zip(outputs, found, strict=True))

    if picture.shape[1:] == [SIZE, SIZE, 1]:
        # Converters may leave a size symbolic ("unk__596") that a run shows.
        found = run(np.zeros((2, SIZE, SIZE, 1), np.float32))
        outputs = {name: list(values.shape) for name, values in found.items()}
    return Loaded(run, picture.shape, outputs)


def open_litert(content: bytes) -> Any:
    """LiteRT's signature runner: `picture`, float32 (N, 96, 96, 1), to a dict of outputs."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content, num_threads=1).get_signature_runner()


def load_litert(content: bytes) -> Loaded:
    """Load a .tflite file's content into one interpreter per core, each predicting face by face.

    This is faster than large batches, and than several threads in one interpreter
    (tests/benchmarks/speed.py).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = int(os.environ.get("OMP_NUM_THREADS") or 0) or count
    runners = [open_litert(content) for _ in range(count or 1)]
    pools: dict[int, tuple[ThreadPoolExecutor, SimpleQueue]] = {}  # by process

    def start() -> tuple[ThreadPoolExecutor, SimpleQueue]:
        free: SimpleQueue = SimpleQueue()
        for runner in runners:
            free.put(runner)
        return ThreadPoolExecutor(len(runners)), free

    def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
        # A forked process has its parent's interpreters, but none of its threads.
        pool, free = pools.get(os.getpid()) or pools.setdefault(os.getpid(), start())

        def one(picture: np.ndarray) -> dict[str, np.ndarray]:
            runner = free.get()
            try:
                return runner(picture=picture)
            finally:
                free.put(runner)

        faces = list(pool.map(one, pictures[:, None]))
        return {name: np.concatenate([face[name] for face in faces]) for name in faces[0]}

    details = runners[0].get_input_details(), runners[0].get_output_details()
    inputs, outputs = (
        {name: detail["shape"].tolist() for name, detail in side.items()} for side in details
    )
    return Loaded(run, inputs["picture"], outputs)
