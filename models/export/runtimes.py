"""Running exported models by LiteRT or ONNX Runtime, without TensorFlow and Keras."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import numpy as np

from data.key_points import SIZE
from data.system.files import InputError, one_line

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]

# The runtime of each kind of file: the module to import, the package to install.
RUNTIMES = {
    ".tflite": ("ai_edge_litert.interpreter", "ai-edge-litert>=2.1,<3"),
    ".onnx": ("onnxruntime", "onnxruntime>=1.20,<2"),
}


class Exported:
    """An exported model with the parts of keras.Model that `predict` and `load_model` use."""

    def __init__(self, run: Runner, picture: list[Any], outputs: dict[str, list[Any]]) -> None:
        """`picture`: the input's shape, `outputs`: shapes by name; first comes the batch size."""
        self.predict_on_batch = run
        self.input_shape = (None, *picture[1:])
        self.output = {
            name: SimpleNamespace(shape=(None, *shape[1:])) for name, shape in outputs.items()
        }


def open_exported(path: Path) -> Exported:
    """Load a .tflite or .onnx file.

    Raises InputError if it is broken or its runtime is not installed.
    """
    module, package = RUNTIMES[path.suffix]
    try:
        importlib.import_module(module)
    except (ImportError, AttributeError) as error:  # AttributeError: too old for this NumPy
        raise InputError(
            f"{path} needs a package that cannot be imported ({one_line(error)}); install it with:"
            f" pip install '{package}'"
        ) from None
    try:
        return open_litert_pool(path) if path.suffix == ".tflite" else open_onnx(path)
    except Exception as error:  # the runtimes raise all kinds
        raise InputError(
            f"{path} cannot be loaded ({one_line(error):.200}); export it again or copy it again."
        ) from None


def open_litert(path: Path | str) -> Any:
    """LiteRT's signature runner: `picture`, float32 (N, 96, 96, 1), to a dict of outputs."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path), num_threads=1).get_signature_runner()


def open_onnx(path: Path | str) -> Exported:
    """An .onnx file, loaded by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    outputs = {output.name: output.shape for output in session.get_outputs()}

    def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(list(outputs), {picture.name: pictures})
        return dict(zip(outputs, found, strict=True))

    if picture.shape[1:] == [SIZE, SIZE, 1]:
        # Converters may leave a size symbolic ("unk__596") that a run shows.
        found = run(np.zeros((2, SIZE, SIZE, 1), np.float32))
        outputs = {name: list(values.shape) for name, values in found.items()}
    return Exported(run, picture.shape, outputs)


def open_litert_pool(path: Path) -> Exported:
    """A .tflite file, loaded by one interpreter per core, each of which predicts face by face.

    This is faster than large batches, and than several threads in one interpreter
    (tests/benchmarks/speed.py).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free: SimpleQueue = SimpleQueue()
    for _ in range(count or 1):
        free.put(open_litert(path))
    pool = ThreadPoolExecutor(count)

    def one(picture: np.ndarray) -> dict[str, np.ndarray]:
        runner = free.get()
        try:
            return runner(picture=picture)
        finally:
            free.put(runner)

    def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
        faces = list(pool.map(one, pictures[:, None]))
        return {name: np.concatenate([face[name] for face in faces]) for name in faces[0]}

    runner = free.get()
    (picture,) = (detail["shape"].tolist() for detail in runner.get_input_details().values())
    outputs = {n: detail["shape"].tolist() for n, detail in runner.get_output_details().items()}
    free.put(runner)
    return Exported(run, picture, outputs)
