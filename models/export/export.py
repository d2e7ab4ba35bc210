"""Exporting a model to LiteRT (phones) or ONNX (servers), compared with Keras."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.faces import Faces
from data.system.files import InputError, one_line, replace_file
from models.export.runtimes import RUNTIMES, Runner, load_onnx, open_exported, open_litert
from models.storage import check_shapes, file_digest, save_record

if TYPE_CHECKING:
    import keras

TIMED = 50  # faces, one at a time, for the median time per face

# The packages that write and run each format: what to import, what to install.
EXTRAS = {
    "litert": dict([RUNTIMES[".tflite"]]),
    "onnx": dict([RUNTIMES[".onnx"], ("tf2onnx", "tf2onnx>=1.17,<2")]),
}


def import_extras(kind: str) -> None:
    """Import the packages that an export needs.

    Raises InputError that says how to install them if one is missing.
    """
    try:
        for name in EXTRAS[kind]:
            importlib.import_module(name)
    except (ImportError, AttributeError) as error:  # AttributeError: too old for this NumPy
        packages = " ".join(f"'{package}'" for package in EXTRAS[kind].values())
        raise InputError(
            f"--export {kind} needs packages that cannot be imported ({error}); install them with:"
            f" pip install {packages}"
        ) from None


def to_litert(model: keras.Model, small: bool = False) -> bytes:
    """Convert a Keras model to the bytes of a .tflite file.

    With `small` the weights are 8-bit integers, scaled per channel, and activations stay float32
    (dynamic-range quantization).
    """
    import keras
    import tensorflow as tf

    picture = keras.InputSpec("float32", (None, *model.input_shape[1:]), name="picture")
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, "tf_saved_model", verbose=False, input_signature=[picture])
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if small else []
        return converter.convert()


def to_onnx(model: keras.Model) -> bytes:
    """Convert a Keras model to the bytes of an .onnx file.

    (Keras's own ONNX export turns the network's constants into extra inputs, as of Keras 3.15;
    here they are frozen first, together with the weights.)
    """
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.get_logger().setLevel("ERROR")  # tf2onnx uses deprecated functions
    picture = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="picture")
    function = tf.function(lambda picture: model(picture, training=False))
    function = function.get_concrete_function(picture)
    frozen = convert_variables_to_constants_v2(function)
    inputs, outputs = ([tensor.name for tensor in side] for side in (frozen.inputs, frozen.outputs))
    names = dict(zip(outputs, sorted(function.structured_outputs), strict=True))
    made, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=inputs,
        output_names=outputs,
        tensors_to_rename={inputs[0]: "picture"} | names,
    )
    # tf2onnx leaves the number of points unnamed where Einsum computes it.
    shapes = {"picture": model.input_shape} | {n: t.shape for n, t in model.output.items()}
    for value in [*made.graph.input, *made.graph.output]:
        batch, *dimensions = value.type.tensor_type.shape.dim
        batch.dim_param = "batch"
        for dimension, size in zip(dimensions, shapes[value.name][1:], strict=True):
            dimension.dim_value = size
    return made.SerializeToString()


def run_litert(path: Path | str) -> Runner:
    """A function that runs a .tflite file: float32 pictures (N, 96, 96, 1) to a dict of outputs."""
    runner = open_litert(Path(path).read_bytes())
    return lambda pictures: runner(picture=pictures)


def run_onnx(path: Path | str) -> Runner:
    """The same as `run_litert` for an .onnx file."""
    return load_onnx(Path(path).read_bytes()).run


def compare(
    model: keras.Model, exported: Runner, pictures: np.ndarray
) -> tuple[float, float, float, float]:
    """Compare an exported model with Keras on uint8 pictures (N, 96, 96).

    Both predict all faces at once, and then take turns at single faces to be timed.

    Returns:
        The largest difference of any output, and the RMS difference of the key points, in pixels;
        the median milliseconds per face of Keras and of the exported model.
    """
    pictures = pictures[..., None].astype(np.float32)
    expected, found = model.predict_on_batch(pictures), exported(pictures)
    answers, seconds = [], []
    for picture in pictures[:TIMED, None]:
        start = time.perf_counter()
        model.predict_on_batch(picture)
        middle = time.perf_counter()
        answers.append(exported(picture))
        seconds.append((middle - start, time.perf_counter() - middle))
    alone = {name: np.concatenate([answer[name] for answer in answers]) for name in expected}
    differences = [
        output[name] - expected[name][: len(output[name])]
        for output in (found, alone)
        for name in expected
    ]
    largest = np.max([np.abs(difference).max() for difference in differences])
    rms = np.sqrt(((found["key_points"] - expected["key_points"]) ** 2).mean())
    return largest, rms, *(1000 * np.median(seconds, axis=0))


class Form(NamedTuple):
    """A kind of export."""

    ending: str  # of the file's name
    convert: Callable[[keras.Model], bytes]
    open_file: Callable[[Path], Runner]
    parity: float = 0.01  # pixels: by how much any value may differ from Keras
    rms: float = 0.01  # pixels: the same for the key points' RMS difference


# 8-bit weights: how far the points move depends on how well the network has learned.
SMALL = Form("_small.tflite", partial(to_litert, small=True), run_litert, np.inf, np.inf)
FORMS = {
    "onnx": (Form(".onnx", to_onnx, run_onnx),),
    "litert": (Form(".tflite", to_litert, run_litert), SMALL),
}


def export(
    model: keras.Model,
    record: dict[str, Any],
    model_path: Path,
    kind: str,
    faces: Faces,
    folder: Path,
) -> None:
    """Write a Keras model for LiteRT or ONNX Runtime, and print how it compares with Keras.

    Args:
        model, record: as from `load_model`.
        model_path: the path they were loaded from.
        kind: a key of EXTRAS.
        faces: to compare on.
        folder: where to write.

    Raises InputError as `write_export`.
    """
    for form in FORMS[kind]:
        write_export(form, model, record, model_path, faces, folder)


def write_export(
    form: Form,
    model: keras.Model,
    record: dict[str, Any],
    model_path: Path,
    faces: Faces,
    folder: Path,
) -> Path:
    """Write one kind of export, and print how it compares with Keras; arguments as for `export`.

    Its record, which names the key points and the model that it was made from, is written beside
    it as <file>.json. Returns the file's path.

    Raises InputError if the conversion fails or a result differs from Keras; such a file is not
    written.
    """
    path = folder / (model_path.stem + form.ending)
    source = {"exported_from": model_path.name, "exported_from_sha256": file_digest(model_path)}
    replace_file(path, partial(write_compared, path, model, form, faces))
    save_record(path, model, record | source)
    return path


def write_compared(
    path: Path, model: keras.Model, form: Form, faces: Faces, temporary: Path
) -> None:
    """Write one export to `temporary`, which `replace_file` renames to `path`, and compare it.

    Raises InputError if it differs from Keras by more than the form allows.
    """
    try:
        print(f"Converting to {path.name} ...", flush=True)
        temporary.write_bytes(form.convert(model))
        check_shapes(open_exported(temporary), path)  # as `--model` will
        print(f"Comparing it with Keras on {len(faces.rows)} faces ...", flush=True)
        largest, rms, keras_ms, ms = compare(model, form.open_file(temporary), faces.pictures)
    except OSError:
        raise
    except Exception as error:  # the converters raise all kinds
        raise InputError(
            f"{path} cannot be made ({one_line(error)[:200]}); try other versions of the packages"
            " that --export needs."
        ) from None
    size = temporary.stat().st_size
    if not (largest <= form.parity and rms <= form.rms):  # also refuses NaN
        raise InputError(
            f"{path} would differ from Keras by {largest:.3g} px, its key points by {rms:.3g} px"
            f" (RMS), on {len(faces.rows)} faces of {faces.path}; only {form.parity} and"
            f" {form.rms} px are allowed, so it was not written. Try other versions of the"
            " packages that --export needs."
        )
    print(
        f"{path}: {size / 1e6:.2f} MB; on {len(faces.rows)} faces, the key points differ from"
        f" Keras by {rms:.2g} px (RMS) and no value by more than {largest:.2g} px; {ms:.1f} ms per"
        f" face, one at a time (Keras {keras_ms:.1f} ms)",
        flush=True,
    )
