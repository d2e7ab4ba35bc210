"""The networks of the search: the same in NumPy as in Keras, and blind to how bright a photo is."""

import numpy as np
import pytest
from conftest import ROOT

from data.system.files import InputError
from models.detect.candidates import load_networks
from models.detect.checker import CHECKED, CHECKER_LAYERS, build_checker, check
from models.detect.finder import FINDER_LAYERS, WINDOW, scan, score_windows
from models.detect.refiner import REFINED, REFINER_LAYERS, refine
from models.detect.small_networks import (
    CONTEXT,
    load_weights,
    normalize_contrast,
    save_weights,
    weights_of,
)

LAYERS = {"finder": FINDER_LAYERS, "checker": CHECKER_LAYERS, "refiner": REFINER_LAYERS}


@pytest.fixture(scope="module")
def kept():
    """The Keras models that the shipped weights come from, by name."""
    import keras

    paths = {name: ROOT / "models" / f"free_{name}.keras" for name in LAYERS}
    assert all(path.stat().st_size < 1_000_000 for path in paths.values())
    return {name: keras.saving.load_model(path, safe_mode=True) for name, path in paths.items()}


@pytest.mark.parametrize("name", LAYERS)
def test_both_shipped_files_hold_the_same_weights(kept, name):
    from_keras = weights_of(kept[name], LAYERS[name])
    for ours, theirs in zip(getattr(load_networks(), name), from_keras, strict=True):
        for layer, a, b in zip(LAYERS[name], ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layer)
            assert a.dtype == np.float32


def test_numpy_sees_what_keras_sees(kept):
    picture = normalize_contrast(np.random.default_rng(0).integers(0, 256, (56, 88), np.uint8))
    expected = np.asarray(kept["finder"].predict_on_batch(picture[None, ..., None]))[0]
    positions, values = scan(load_networks().finder, picture, early_logit=-np.inf)
    assert expected.shape == (9, 17, 7)  # a window every four pixels
    np.testing.assert_allclose(values, expected.reshape(-1, 7), atol=1e-4)
    np.testing.assert_array_equal(positions.reshape(9, 17, 2)[3, 5], (20, 12))
    # Those left out are those whose first number says so.
    middle = np.median(values[:, 0])
    some_positions, some = scan(load_networks().finder, picture, early_logit=middle)
    np.testing.assert_array_equal(some_positions, positions[values[:, 0] > middle])
    np.testing.assert_allclose(some, values[values[:, 0] > middle], atol=1e-4)


def test_a_single_window_is_scored_as_in_the_whole_picture():
    picture = normalize_contrast(np.random.default_rng(0).integers(0, 256, (56, 88), np.uint8))
    positions, values = scan(load_networks().finder, picture, early_logit=-np.inf)
    windows = np.array([picture[y : y + WINDOW, x : x + WINDOW] for x, y in positions])
    np.testing.assert_allclose(score_windows(load_networks().finder, windows), values, atol=1e-4)


@pytest.mark.parametrize(
    "name, side, run", [("checker", CHECKED, check), ("refiner", REFINED, refine)]
)
def test_numpy_sees_crops_as_keras_does(kept, name, side, run):
    weights, outer = getattr(load_networks(), name), side + 2 * CONTEXT
    crops = np.random.default_rng(0).integers(0, 256, (40, outer, outer)).astype(np.float32)
    level = normalize_contrast(crops)[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT, None]
    expected = np.asarray(kept[name].predict_on_batch(level)).squeeze()
    np.testing.assert_allclose(run(weights, crops), expected, rtol=1e-4, atol=1e-3)
    assert run(weights, crops[:0]).shape == (0, *expected.shape[1:])


def test_a_picture_smaller_than_a_window_has_none():
    positions, values = scan(load_networks().finder, np.zeros((WINDOW - 4, 200), np.float32), 0.0)
    assert positions.shape == (0, 2) and values.shape == (0, 7)


def test_level_light_hardly_depends_on_brightness_and_contrast():
    picture = np.random.default_rng(1).integers(20, 220, (80, 120)).astype(np.float32)
    expected = normalize_contrast(picture)
    for gain, offset in ((0.3, 0), (0.3, 170), (1, 30)):
        np.testing.assert_allclose(normalize_contrast(gain * picture + offset), expected, atol=0.5)
    assert np.abs(normalize_contrast(np.full((40, 40), 90, np.uint8))).max() == 0
    # Light from one side goes, what lies in it stays.
    slope = np.linspace(0, 100, 120)
    assert np.corrcoef(normalize_contrast(picture + slope).ravel(), expected.ravel())[0, 1] > 0.98


def test_weights_come_back_as_saved_and_a_broken_file_is_told(tmp_path):
    layers = CHECKER_LAYERS
    checker = weights_of(build_checker(), layers)
    save_weights(checker, layers, tmp_path / "whole.npz")
    for ours, theirs in zip(load_weights(layers, tmp_path / "whole.npz"), checker, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    (tmp_path / "broken.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:5000])
    np.savez(tmp_path / "other.npz", edges_kernel=np.zeros(3))
    for name in ("missing.npz", "broken.npz", "other.npz"):
        with pytest.raises(InputError, match=name):
            load_weights(layers, tmp_path / name)
