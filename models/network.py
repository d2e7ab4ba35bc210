"""The network: building it, warm-starting it, predicting with it."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.key_points import KEY_POINTS, PARTNERS, SIZE, Names, mirror_key_points, mirror_partners
from data.system.files import InputError

if TYPE_CHECKING:
    import keras


def check_backend(training: bool = True) -> None:
    """Raise InputError where the backend that the user chose for Keras is not installed or, for
    `training`, cannot train.

    Does not import Keras, which takes seconds. TensorFlow and JAX train; PyTorch is not tested.
    """
    backend = os.environ.get("KERAS_BACKEND", "")
    if not backend:
        try:
            settings = json.loads(keras_settings().read_text(encoding="utf-8"))
            backend = settings.get("backend", "tensorflow")
        except (OSError, ValueError, AttributeError):
            backend = "tensorflow"
    if training and backend not in ("tensorflow", "jax"):
        reason = "is not tested for training" if backend == "torch" else "cannot train"
    elif importlib.util.find_spec(backend) is None:
        reason = "is not installed"
    else:
        return
    raise InputError(
        f"Keras is set to the backend {backend} (KERAS_BACKEND or keras.json), which {reason}; set"
        " KERAS_BACKEND=tensorflow, which requirements.txt installs."
    )


def keras_settings() -> Path:
    """Where Keras looks for keras.json, as in its keras/src/backend/config.py."""
    home = os.path.expanduser("~")  # stays "~" where there is no home
    folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME", folder)), "keras.json")


@contextmanager
def plain_keras() -> Iterator[None]:
    """Keras with its default settings, whatever the user's keras.json or program sets.

    They include the type in which losses are computed and the axis of the channels.
    """
    from keras import config

    earlier = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()
    plain = "float32", 1e-7, "channels_last", "float32"
    setters = (
        config.set_floatx,
        config.set_epsilon,
        config.set_image_data_format,
        config.set_dtype_policy,
    )
    try:
        for set_to, value in zip(setters, plain, strict=True):
            set_to(value)
        yield
    finally:
        for set_to, value in zip(setters, earlier, strict=True):
            set_to(value)


def build_model(dtype: str = "float32", count: int = 15) -> keras.Model:
    """The network, from grey values (N, 96, 96, 1) to `key_points` (N, 2K) and `spread` (N, K), the
    standard deviation of each point's error per axis, both in pixels.

    A residual encoder goes down to 6x6 to see the whole face and comes back up to a 12x12 grid,
    from which `read_key_points` computes each point and `read_spread` its spread.

    Args:
        dtype: Keras dtype policy of the body, such as "float32" or "mixed_bfloat16"; the head
            always computes in float32, because bfloat16 has steps of half a pixel at 95.
        count: K, how many key points.

    Returns:
        keras.Model of built-in layers only, so that plain `keras.saving.load_model` loads it.
    """
    import keras

    picture = keras.Input((SIZE, SIZE, 1), dtype="float32", name="picture")
    grid, deep = encode(picture, dtype)
    key_points, maps, signs = read_key_points(grid, count)
    outputs = {"key_points": key_points, "spread": read_spread(grid, deep, maps, signs, count)}
    return keras.Model(picture, outputs, name="face_key_points")


def encode(picture: Any, dtype: str) -> tuple[Any, Any]:
    """The body: features on a 12x12 grid (N, 12, 12, 96) and the deepest features, which see the
    whole face, (N, 6, 6, 160); Keras tensors."""
    from keras import layers

    # The channels' axis is set here, because the user's keras.json may set another default.
    Conv = partial(
        layers.Conv2D, padding="same", use_bias=False, data_format="channels_last", dtype=dtype
    )
    Norm = partial(layers.BatchNormalization, axis=-1, dtype=dtype)
    Relu = partial(layers.Activation, "relu", dtype=dtype)
    Add = partial(layers.Add, dtype=dtype)

    def conv(x: Any, channels: int, size: int, stride: int = 1) -> Any:
        return Relu()(Norm()(Conv(channels, size, strides=stride)(x)))

    def residual(x: Any, channels: int) -> Any:
        y = Norm()(Conv(channels, 3)(conv(x, channels, 3)))
        return Relu()(Add()([x, y]))

    x = layers.Rescaling(1 / 64, offset=-2, dtype=dtype)(picture)
    x = conv(x, 24, 5, stride=2)  # 48x48: kept thin, high resolution is where the time goes
    x = residual(conv(x, 48, 3, stride=2), 48)  # 24x24
    x = residual(residual(residual(conv(x, 96, 3, stride=2), 96), 96), 96)  # 12x12
    skip = x
    deep = residual(residual(conv(x, 160, 3, stride=2), 160), 160)  # 6x6: sees the whole face
    x = layers.UpSampling2D(2, data_format="channels_last", dtype=dtype)(conv(deep, 96, 1))
    return residual(Add()([skip, x]), 96), deep  # 12x12 again


def read_key_points(grid: Any, count: int) -> tuple[Any, Any, Any]:
    """The positions of `count` points from the features of a 12x12 grid; Keras tensors.

    Each point has a heat map (a softmax over the cells) and, at each cell, an offset from the
    cell's centre; the prediction is the expected position. That is soft-argmax ("integral")
    regression, Sun et al. 2018, https://arxiv.org/abs/1711.08229, with the dense offsets of
    Papandreou et al. 2017, https://arxiv.org/abs/1701.01779. So the grid can stay coarse, which
    makes it fast, and a point can lie outside the picture.

    Returns:
        `key_points` (N, 2K); the maps (N, 144, K); and two signs of certainty (N, K, 2): how far
        the cells disagree and how peaked the map is.
    """
    from keras import layers, ops

    side = SIZE // 8
    cells = side * side
    centre = (np.arange(side, dtype=np.float32) + 0.5) * 8 - 0.5
    centres = np.stack(np.meshgrid(centre, centre), -1).reshape(1, 1, cells, 2)

    head = partial(layers.Conv2D, kernel_size=1, data_format="channels_last", dtype="float32")
    reshape = partial(layers.Reshape, dtype="float32")
    maps = reshape((cells, count))(head(count, name="maps")(grid))
    maps = layers.Softmax(axis=1, name="where", dtype="float32")(maps)
    offsets = head(2 * count, kernel_initializer="zeros", name="offsets")(grid)
    offsets = reshape((cells, count, 2))(offsets)
    weights = ops.expand_dims(maps, -1)
    # `ops.add`: JAX's own addition takes no symbolic tensors.
    places = ops.add(centres.transpose(0, 2, 1, 3), 8 * offsets)
    means = ops.sum(weights * places, axis=1)
    key_points = reshape((2 * count,), name="key_points")(means)

    apart = ops.sum(weights * (places - ops.expand_dims(means, 1)) ** 2, axis=(1, 3))
    signs = ops.stack([ops.log(apart + 1e-2), ops.log(ops.sum(maps**2, axis=1))], axis=-1)
    return key_points, maps, signs


def read_spread(grid: Any, deep: Any, maps: Any, signs: Any, count: int) -> Any:
    """Each point's `spread` (N, K), from what the point itself was computed from.

    Its inputs are `maps` and `signs` as from `read_key_points`, the grid's features weighted by the
    point's map, and the mean features of the whole picture. All layers that only the spread
    depends on have names that begin with "spread".
    """
    import keras
    from keras import layers, ops

    cells = grid.shape[1] * grid.shape[2]
    features = layers.Reshape((cells, grid.shape[-1]), dtype="float32")(grid)
    looked_at = ops.matmul(ops.transpose(maps, (0, 2, 1)), features)  # (N, K, channels)
    pool = partial(layers.GlobalAveragePooling2D, data_format="channels_last", dtype="float32")
    whole = [pool()(level) for level in (grid, deep)]
    whole = layers.RepeatVector(count, dtype="float32")(ops.concatenate(whole, axis=-1))
    signs = ops.concatenate([signs, looked_at, whole], axis=-1)
    signs = layers.LayerNormalization(name="spread_scaled", dtype="float32")(signs)
    signs = layers.Dense(64, "relu", name="spread_signs", dtype="float32")(signs)
    # Weights and a bias of its own for each point, and a factor that `calibrate` sets.
    spread = layers.EinsumDense(
        "nkc,kc->nk",
        count,
        bias_axes="k",
        activation="softplus",
        bias_initializer=keras.initializers.Constant(2.0),
        name="spread_raw",
        dtype="float32",
    )(signs)
    return layers.EinsumDense(
        "nk,k->nk", count, kernel_initializer="ones", name="spread", dtype="float32"
    )(spread)


# The layers in which each key point has its own weights, and the axis of the key points there.
POINT_AXIS = {"maps": -1, "offsets": -1, "spread_raw": 0, "spread": 0}


def warm_start(initial: keras.Model, known: Names, names: Names) -> keras.Model:
    """A new network for the key points `names` that starts with the weights of another.

    Args:
        initial: a model as from `build_model`.
        known: the names of its key points; new ones start with random weights.
        names: of the new network's key points.

    Returns:
        keras.Model. Raises ValueError if `initial` has another body.
    """
    network = build_model(count=len(names))
    here = [k for k, name in enumerate(names) if name in known]
    there = [known.index(names[k]) for k in here]
    for variable, weights in zip(network.weights, initial.get_weights(), strict=True):
        axis = POINT_AXIS.get(variable.path.split("/")[-2])
        if axis is not None:
            own = np.moveaxis(variable.numpy(), axis, 0)
            parts = own.reshape(len(names), -1)
            parts[here] = np.moveaxis(weights, axis, 0).reshape(len(known), -1)[there]
            weights = np.moveaxis(parts.reshape(own.shape), 0, axis)
        variable.assign(weights)
    return network


def predict(
    model: keras.Model,
    pictures: np.ndarray,
    mirror: bool = False,
    batch_size: int = 256,
    names: Names | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the key points and their spread.

    Args:
        model: as from `load_model`.
        pictures: (N, 96, 96) grey values 0 .. 255; also (N, 96, 96, 1), or one picture alone.
        mirror: test-time flip averaging: the mean with the prediction for the mirrored picture.
        batch_size: pictures that go through the network at once.
        names: of the model's key points, Kaggle's 15 if not given; without left and right among
            them nothing is mirrored.

    Returns:
        float32 key points (N, K, 2) in pixels, and float32 spread (N, K): the standard
        deviation per axis in pixels; the 90 % region is the disc of radius REGION_90 * spread.

    Raises ValueError if the pictures have another shape or type or, with `mirror`, if the model
    has another number of key points than `names`.
    """
    inputs = as_input(pictures)
    names = KEY_POINTS if names is None else tuple(names)
    if mirror and len(names) != (count := model.output["spread"].shape[-1]):
        raise ValueError(
            f"the model has {count} key points, but the names of {len(names)} are given; to mirror,"
            " give names=names_of(model, record), with both from load_model"
        )
    if not len(inputs):
        count = model.output["spread"].shape[-1]
        return np.empty((0, count, 2), np.float32), np.empty((0, count), np.float32)
    partners = mirror_partners(names) if mirror else None
    step = batch_size if partners is None else max(batch_size // 2, 1)
    take_any_batch(model)
    parts = []
    for start in range(0, len(inputs), step):
        part = inputs[start : start + step]
        if partners is not None:  # in one batch: for a single face that takes a third less time
            part = np.concatenate([part, part[:, :, ::-1]])
        # Not Keras's `predict`, which takes longer to start than a face takes to predict.
        found = model.predict_on_batch(part)
        spread = np.asarray(found["spread"], np.float32)
        key_points = np.asarray(found["key_points"], np.float32).reshape(*spread.shape, 2)
        if partners is not None:
            key_points, spread = average_with_mirrored(key_points, spread, partners)
        parts.append((key_points, spread))
    key_points, spread = map(np.concatenate, zip(*parts, strict=True))
    return key_points, spread


def take_any_batch(model: Any) -> None:
    """Have TensorFlow trace a Keras model once, for batches of any size.

    By default it traces the first batch's size, and any size at the second batch: half a second
    more. Does nothing for other backends and for exported models.
    """
    if getattr(model, "predict_function", "exported") is not None:
        return
    model.make_predict_function()
    trace = getattr(model.predict_function, "get_concrete_function", None)
    if trace is not None:
        import tensorflow as tf

        trace([(tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32),)])


def average_with_mirrored(
    key_points: np.ndarray, spread: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flip averaging: the means of the predictions for N pictures and for their mirror images.

    Args:
        key_points, spread: (2N, K, 2) and (2N, K) pixels, the mirror images' last.
        partners: as from `mirror_partners`.

    Returns key points (N, K, 2) and spread (N, K).
    """
    (own, flipped), (sure, other) = np.split(key_points, 2), np.split(spread, 2)
    half = (mirror_key_points(flipped, partners) - own) / 2
    # The spread of a mixture of two: it grows where the two disagree.
    mixed = np.sqrt((sure**2 + other[:, partners] ** 2) / 2 + (half**2).mean(-1))
    return own + half, mixed


def as_input(pictures: np.ndarray) -> np.ndarray:
    """Grey pictures as the network takes them, float32 (N, 96, 96, 1). Raises ValueError.

    They may be (N, 96, 96) or (N, 96, 96, 1), or one alone, (96, 96) or (96, 96, 1).
    """
    inputs = np.asarray(pictures)
    if inputs.shape[-1:] == (1,) and inputs.ndim > 2:
        inputs = inputs[..., 0]
    if inputs.ndim == 2:
        inputs = inputs[None]
    if inputs.shape[1:] != (SIZE, SIZE) or inputs.dtype.kind not in "buif":
        raise ValueError(
            f"pictures are {inputs.dtype} {np.shape(pictures)}, but must be grey values 0 to 255,"
            f" (N, {SIZE}, {SIZE}) or (N, {SIZE}, {SIZE}, 1)"
        )
    if inputs.dtype.kind in "bf" and inputs.size and 0 < np.max(inputs) <= 1:
        warnings.warn(
            "no picture has a grey value above 1: the network takes 0 to 255, not 0 to 1",
            stacklevel=3,
        )
    elif inputs.size and np.max(inputs) > 255:
        warnings.warn(
            f"there are grey values up to {np.max(inputs)}: the network takes 0 to 255",
            stacklevel=3,
        )
    return np.asarray(inputs, np.float32)[..., None]


def with_source_offsets(
    model: keras.Model,
    sources: int,
    partners: np.ndarray | None = PARTNERS,
    alike: Sequence[int] = (),
) -> keras.Model:
    """The model that is trained: the network plus, per further source and point, a learned offset.

    Annotators of other files put the nose tip or a brow's end on another spot. The offset learns
    the difference, so that the network itself keeps the first file's convention (offset zero). It
    is symmetric, because mirrored pictures are trained on as well.

    Args:
        model: as from `build_model`.
        sources: their number; source -1 is the last one.
        partners: as from `mirror_partners`; None: not symmetric.
        alike: indices of the key points that all sources label at the same spot: no offset.

    Returns:
        keras.Model from (picture, source (N, 1)) to the network's outputs, key points moved.
    """
    import keras
    from keras import layers, ops

    source = keras.Input((1,), dtype="int32", name="source")
    size = model.output["key_points"].shape[1]
    # Not an Embedding: clipping would use the sum of the norms of its sparse gradient's rows.
    table = layers.Dense(
        size, use_bias=False, kernel_initializer="zeros", name="source_offsets", dtype="float32"
    )
    offset = ops.reshape(table(ops.one_hot(source % sources, sources)), (-1, size // 2, 2))
    sides = np.array([-1, 1], np.float32)
    if partners is not None:
        offset = offset + ops.take(offset, partners, axis=1) * sides
    if len(alike):
        offset = offset * np.isin(np.arange(size // 2), alike, invert=True)[:, None]
    further = ops.cast(source != 0, "float32")
    # Times 5: at AdamW's step size several pixels would take long.
    moved = model.output["key_points"] + 5 * further * ops.reshape(offset, (-1, size))
    return keras.Model([model.input, source], model.output | {"key_points": moved})


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX-512 BF16, Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
