"""models/network.py: what the network's arithmetic must give."""

import numpy as np
import pytest
from conftest import smallest_network

from data.key_points import PARTNERS, SIZE, mirror_key_points
from models.network import build_model, predict, with_source_offsets
from models.storage import load_model


def test_soft_argmax_of_a_painted_peak_is_its_place():
    """A model whose maps peak at one cell, with a known offset, predicts that place exactly."""
    import keras

    model = build_model()
    maps, offsets = model.get_layer("maps").output, model.get_layer("offsets").output
    head = keras.Model([maps, offsets], model.output["key_points"])
    peaks = np.zeros((1, 12, 12, 15), np.float32)
    peaks[0, 4, 7] = 50
    shift = np.tile(np.float32([0.25, -0.5]), (1, 12, 12, 15))  # in cells of 8 pixels
    found = head.predict([peaks, shift], verbose=0)
    expected = [7 * 8 + 3.5 + 8 * 0.25, 4 * 8 + 3.5 - 8 * 0.5]
    np.testing.assert_allclose(found.reshape(15, 2), [expected] * 15, atol=1e-3)
    # Two equal peaks: the mean of their places.
    peaks[0, 4, 9] = 50
    found = head.predict([peaks, 0 * shift], verbose=0).reshape(15, 2)
    np.testing.assert_allclose(found, [[8 * 8 + 3.5, 4 * 8 + 3.5]] * 15, atol=1e-3)


def test_model_keeps_its_contract():
    model = build_model()
    assert model.input_shape == (None, 96, 96, 1)
    outputs = {name: tensor.shape for name, tensor in model.output.items()}
    assert outputs == {"key_points": (None, 30), "spread": (None, 15)}
    assert model.count_params() <= 2_000_000


def test_source_offsets_leave_the_first_file_alone_and_are_mirror_true():
    network = build_model()
    model = with_source_offsets(network, 3)
    offsets = np.random.default_rng(0).normal(0, 1, (3, 30)).astype(np.float32)
    model.get_layer("source_offsets").set_weights([offsets])
    picture = np.full((3, 96, 96, 1), 99, np.float32)
    plain = network.predict(picture, verbose=0)
    moved = model.predict((picture, np.array([[0], [1], [2]])), verbose=0)
    np.testing.assert_array_equal(moved["spread"], plain["spread"])
    difference = (moved["key_points"] - plain["key_points"]).reshape(-1, 15, 2)
    assert (difference[0] == 0).all() and np.abs(difference[1:]).max() > 1
    np.testing.assert_allclose(difference[:, PARTNERS] * [-1, 1], difference, rtol=1e-3, atol=1e-3)
    model = with_source_offsets(network, 3, alike=[13, 14])
    model.get_layer("source_offsets").set_weights([offsets])
    alike = model.predict((picture, np.array([[0], [1], [2]])), verbose=0)
    expected = moved["key_points"].copy()
    expected[:, 26:] = plain["key_points"][:, 26:]
    np.testing.assert_array_equal(alike["key_points"], expected)


def test_mirrored_prediction_is_mirror_true(loaded_once, trained, faces):
    model, _ = load_model(trained / "models" / "small.keras")
    found, spread = predict(model, faces.pictures[:6], mirror=True)
    turned, other = predict(model, faces.pictures[:6, :, ::-1], mirror=True)
    np.testing.assert_allclose(mirror_key_points(turned), found, atol=1e-3)
    np.testing.assert_allclose(other[:, PARTNERS], spread, rtol=1e-3)
    # Where the two disagree, the spread says so.
    plain, narrow = predict(model, faces.pictures[:6])
    half = np.linalg.norm(found - plain, axis=-1) / np.sqrt(2)
    assert (spread >= half * 0.999).all() and (narrow > 0).all()


def test_the_network_is_traced_once_for_batches_of_any_size():
    model = smallest_network()
    for count in (2, 5, 1):
        found, _ = predict(model, np.zeros((count, 96, 96)))
        assert found.shape == (count, 15, 2)
    assert model.predict_function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("shape", [(0, SIZE, SIZE), (0, SIZE, SIZE, 1)])
def test_of_no_pictures_nothing_is_predicted(shape, mirror):
    points, spread = predict(smallest_network(), np.zeros(shape, np.uint8), mirror)
    assert points.shape == (0, 15, 2) and spread.shape == (0, 15)
    assert points.dtype == spread.dtype == np.float32
