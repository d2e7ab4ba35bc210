"""No setting of the user's Keras breaks a training or a prediction, and none is changed."""

import importlib.util
import json

import numpy as np
import pytest
from conftest import little_spread, write_csv

import model_builder as mb
from data.system.files import InputError
from models.network import as_input, build_model, check_backend, predict
from models.storage import SHIPPED, load_model
from models.training import fit

# Together, for the tests' time: whatever one of them broke would be seen.
SETTINGS = {
    "keras.json": {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-2},
    "program": {"floatx": "float64", "dtype_policy": "mixed_float16"},
}


@pytest.fixture(params=SETTINGS)
def settings(request):
    """Settings as a user's keras.json or program has them; they stay as they are."""
    from keras import config

    chosen = SETTINGS[request.param]
    earlier = {name: getattr(config, name)() for name in chosen}
    for name, value in chosen.items():
        getattr(config, f"set_{name}")(value)
    yield
    seen = {name: getattr(config, name)() for name in chosen}
    for name, value in earlier.items():
        getattr(config, f"set_{name}")(value)
    assert {name: getattr(value, "name", value) for name, value in seen.items()} == chosen


@pytest.fixture(scope="module")
def shipped(faces):
    """The shipped model, loaded with Keras's own settings, and what it predicts."""
    model, _ = load_model(SHIPPED)
    return model, predict(model, faces.pictures[:4], mirror=True)


def test_predictions_are_the_same(shipped, settings, faces):
    built = build_model()
    built.set_weights(shipped[0].get_weights())
    for model in (built, load_model(SHIPPED)[0]):
        for found, expected in zip(
            predict(model, faces.pictures[:4], mirror=True), shipped[1], strict=True
        ):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-4)


def train(faces, folder):
    """Train the tiny network; its weights."""
    data = write_csv(folder / "few.csv", faces.pictures[:40], faces.key_points[:40])
    paths = ["--model", folder / "m.keras", "--results", folder, "--data", data]
    flags = [*paths, "--epochs", "2", "--batch-size", "8", "--precision", "float32"]
    assert mb.main([str(flag) for flag in flags]) == 0
    return load_model(folder / "m.keras")[0].get_weights()


@pytest.fixture(scope="module")
def expected(faces, tmp_path_factory):
    """The weights after a training with Keras's own settings."""
    from killing import tiny_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "build_model", tiny_model)
        little_spread(patch)
        return train(faces, tmp_path_factory.mktemp("plain"))


def test_trainings_are_the_same(expected, settings, tiny, faces, tmp_path):
    for a, b in zip(train(faces, tmp_path), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", ["KERAS_BACKEND", "keras.json"])
@pytest.mark.parametrize(
    "backend, said",
    [("tensorflow", None), ("openvino", "cannot train"), ("nonsense", "cannot train")]
    + [("torch", "torch.*is not tested for training")]
    + [(name, f"{name}.*is not installed") for name in ("jax", "tensorflow")],
)
def test_a_backend_that_cannot_train_is_said_at_once(backend, said, where, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", backend if where == "KERAS_BACKEND" else "")
    if where == "keras.json":
        (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
    there = said is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there" if there else None)
    if there:
        check_backend()
        return
    with pytest.raises(InputError, match=said):
        check_backend()
    with pytest.raises(InputError, match=f"{backend}.*is not installed"):  # before Keras says so
        load_model(SHIPPED)


# --- what `predict` takes ------------------------------------------------------------------------

SHAPES = {(96, 96): 1, (96, 96, 1): 1, (5, 96, 96): 5, (5, 96, 96, 1): 5, (0, 96, 96): 0}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64"])
def test_pictures_of_all_shapes_are_taken(shape, kind):
    pictures = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    found = as_input(pictures)
    assert found.shape == (SHAPES[shape], 96, 96, 1) and found.dtype == np.float32
    np.testing.assert_array_equal(found.ravel(), pictures.ravel())
    np.testing.assert_array_equal(as_input(pictures.tolist()) if pictures.size else found, found)


@pytest.mark.parametrize("shape", [(5, 96, 96, 3), (96,), (5, 48, 48), (5, 1, 96, 96), ()], ids=str)
def test_other_shapes_are_one_clear_sentence(shape):
    with pytest.raises(ValueError, match=r"must be grey values 0 to 255, \(N, 96, 96\)"):
        as_input(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="pictures are <U1"):
        as_input(np.array([["a"]]))


def test_values_from_0_to_1_or_above_255_are_warned_of():
    with pytest.warns(UserWarning, match="0 to 255, not 0 to 1"):
        as_input(np.full((2, 96, 96), 0.7))
    with pytest.warns(UserWarning, match="grey values up to 4095: the network takes 0 to 255"):
        as_input(np.full((2, 96, 96), 4095, np.uint16))


def test_names_of_another_model_are_one_clear_sentence():
    from killing import tiny_model

    model, pictures = tiny_model(count=2), np.zeros((3, 96, 96), np.uint8)
    assert predict(model, pictures)[0].shape == (3, 2, 2)
    assert predict(model, pictures[:0])[0].shape == (0, 2, 2)
    assert predict(model, pictures, mirror=True, names=["left_a", "right_a"])[1].shape == (3, 2)
    model.predict_on_batch = None  # the check stands before the work
    with pytest.raises(ValueError, match="has 2 key points, but the names of 15"):
        predict(model, pictures, mirror=True)
