"""models/storage.py: what is saved is what is loaded, or one sentence."""

import json
import os
import time
import zipfile

import numpy as np
import pytest
from conftest import smallest_network

from data.faces import load_faces
from data.key_points import KEY_POINTS, rmse
from data.system.files import InputError, replace_file
from models.network import predict
from models.record import versions
from models.storage import (
    Landmarker,
    describe_model,
    load_landmarker,
    load_model,
    save_model,
)


def test_trained_model_loads_with_plain_keras_and_predicts_the_same(trained, trained_csv):
    import keras

    model = keras.saving.load_model(trained / "models" / "small.keras", safe_mode=True)
    ours, record = load_model(trained / "models" / "small.keras")
    faces = load_faces(trained_csv)
    inputs = faces.pictures[:8, ..., None]
    key_points, spread = predict(ours, faces.pictures[:8])
    found = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(found["key_points"], key_points.reshape(8, -1), atol=1e-4)
    np.testing.assert_allclose(found["spread"], spread, atol=1e-4)
    assert record["settings"]["epochs"] == 2 and record["versions"]["keras"]
    held_out = record["data"][0]["validation_rows"]
    truth = faces.key_points[held_out]
    error = rmse(predict(ours, faces.pictures[held_out])[0], truth)
    assert error == pytest.approx(record["results"]["validation"][0]["rmse_px"], abs=1e-3)


def test_saved_model_predicts_what_the_live_one_did(faces, tmp_path):
    """That the whole network does, `trained` shows above: its record has the live one's error."""
    model = smallest_network(bias="random_normal")
    save_model(model, tmp_path / "live.keras", {"a": 1})
    loaded, record = load_model(tmp_path / "live.keras")
    live = predict(model, faces.pictures[:4])
    for again, before in zip(predict(loaded, faces.pictures[:4]), live, strict=True):
        np.testing.assert_allclose(again, before, atol=1e-4)
    assert record["a"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"live.keras", "live.json"}


def test_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("earlier")

    def fail(file):
        file.write_text("half of it")
        raise OSError("disk full")

    with pytest.raises(InputError, match="model.keras cannot be written .disk full"):
        replace_file(path, fail)
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def test_broken_models_are_one_sentence(trained, tmp_path):
    import keras

    whole = (trained / "models" / "small.keras").read_bytes()
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole[: len(whole) // 2])
    flipped = tmp_path / "flipped.keras"
    flipped.write_bytes(whole[:2000] + bytes(200) + whole[2200:])
    (tmp_path / "empty.keras").touch()
    unsafe = keras.Sequential([keras.Input((96, 96, 1)), keras.layers.Lambda(lambda x: x)])
    unsafe.save(tmp_path / "unsafe.keras")
    for name in ("other", "cut", "flipped", "empty", "unsafe", "missing"):
        with pytest.raises(InputError, match=f"{name}.keras") as caught:
            load_model(tmp_path / f"{name}.keras")
        assert "\n" not in str(caught.value)


def test_a_landmarker_has_all_that_belongs_to_a_model(tmp_path):
    path, model = tmp_path / "m.keras", smallest_network("ones")
    save_model(model, path, {"settings": {"flip": 0.0}})
    loaded = load_landmarker(path)
    assert loaded.path == path and loaded.names == KEY_POINTS and loaded.mean_face is None
    pictures = np.random.default_rng(0).integers(0, 255, (2, 96, 96), np.uint8)
    plain = predict(loaded.model, pictures)
    for ours, expected in zip(loaded.predict(pictures), plain, strict=True):
        np.testing.assert_array_equal(ours, expected)  # trained without mirroring: none here
    save_model(model, path, {"settings": {"flip": 0.5}})
    mirrored = predict(loaded.model, pictures, mirror=True)
    for ours, expected in zip(load_landmarker(path).predict(pictures), mirrored, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_leftovers_of_a_kill_are_removed_in_time(tmp_path):
    old, new = tmp_path / ".m.12.keras", tmp_path / ".m.13.keras"
    for file in (old, new):
        file.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    replace_file(tmp_path / "m.keras", lambda file: file.write_text("whole"))
    assert {file.name for file in tmp_path.iterdir()} == {"m.keras", ".m.13.keras"}


def test_a_record_of_another_model_is_not_used(tmp_path):
    """As when a kill falls between the writing of the model and of its record."""
    path = tmp_path / "m.keras"
    for bias in ("zeros", "ones"):
        save_model(smallest_network(bias), path, {"made": bias})
        assert load_model(path)[1]["made"] == bias
        if bias == "zeros":
            earlier = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(earlier)
    assert load_model(path)[1] == {}


@pytest.mark.parametrize("version, newer", [("99.1.0", True), ("3.0.0", False), ("odd", False)])
def test_a_model_by_a_newer_keras_says_so(version, newer, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps({"class_name": "NotYet", "config": {}}))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(InputError, match="m.keras cannot be loaded as a Keras model") as caught:
        load_model(path)
    said = str(caught.value)
    assert ("written by Keras 99.1.0, but 3" in said) == newer and "\n" not in said
    assert ("pip install keras==99.1.0" in said) == newer == ("copy it again" not in said)


def finished(epochs=75, planned=75, rmse=1.2):
    results = {"epochs": epochs, "validation": [{"rmse_px": rmse}]}
    return {"settings": {"epochs": planned}, "results": results}


@pytest.mark.parametrize(
    "record, doubt",
    [
        (finished(), ""),
        (finished(3, 3, 1.8), ""),
        (finished(4, 75), "stopped after epoch 4 of 75"),
        (finished(1, 1), "trained for 1 epoch"),
        (finished(75, 75, 7.2), "7.2 px off"),
        ({}, "there is no JSON that describes its training"),
        ({"settings": {"epochs": 3}, "results": []}, "there is no JSON"),
    ],
)
def test_every_run_says_its_model_and_any_reason_not_to_trust_it(record, doubt, tmp_path):
    text = describe_model(tmp_path / "m.keras", record)
    assert text.startswith(f"Model: {tmp_path / 'm.keras'}") and doubt in text
    assert ("Do not trust its answers" in text) == bool(doubt) == ("pretrained.keras" in text)


def test_a_model_that_saw_no_mirrored_face_does_not_predict_them(tmp_path):
    for record in ({}, {"settings": {}}, {"settings": {"flip": 0.5}}):
        assert Landmarker(None, record, tmp_path).mirror
    assert not Landmarker(None, {"settings": {"flip": 0.0}}, tmp_path).mirror


def test_versions_do_without_tensorflow(monkeypatch):
    import importlib.metadata

    real = importlib.metadata.version

    def version(name):
        if name == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = versions()
    assert "tensorflow" not in found and {"python", "keras", "numpy"} <= set(found)
