"""models/spread.py: loss, learning and calibration of the spread."""

from dataclasses import replace

import numpy as np
import pytest

from data.key_points import SIXTY_EIGHT
from data.settings import Settings
from models.network import build_model, predict, with_source_offsets
from models.spread import calibrate, face_spread, fit_spread
from models.training.loss import spread_loss

SETTINGS = Settings()


def test_spread_loss_is_the_likelihood_of_students_t():
    from scipy.stats import multivariate_t

    log_pdf = multivariate_t.logpdf

    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 95, (4, 30)).astype(np.float32)
    error, spread = rng.normal(0, 3, (4, 15, 2)), rng.uniform(0.5, 4, (4, 15))
    missing = rng.random((4, 15)) < 0.3
    truth.reshape(4, 15, 2)[missing] = np.nan
    found = np.nan_to_num(truth).reshape(4, 15, 2) + error
    found = np.concatenate([found, spread[..., None]], -1).astype(np.float32)
    expected = [
        log_pdf([0, 0], shape=np.eye(2), df=4) - log_pdf(e, shape=s**2 * np.eye(2), df=4)
        for e, s in zip(error[~missing], spread[~missing], strict=True)
    ]
    assert float(spread_loss(truth, found)) == pytest.approx(np.mean(expected), abs=5e-3)


def test_the_jaw_does_not_count_where_there_are_other_points():
    names = (*SIXTY_EIGHT[15:19], "unseen")
    spread = np.array([[9.0, 9.0, 3.0, 4.0, np.nan], [5.0, 5.0, 1.0, 1.0, np.nan]])
    np.testing.assert_allclose(face_spread(spread, names), [12.5**0.5, 1])
    np.testing.assert_allclose(face_spread(spread), [(187 / 4) ** 0.5, 13**0.5])
    jaw = np.where(np.isin(names, SIXTY_EIGHT[:17]), spread, np.nan)
    np.testing.assert_allclose(face_spread(jaw, names), [9, 5])  # only the jaw was ever labelled
    assert face_spread(spread[:0], names).shape == (0,)


def test_calibrated_regions_hold_nine_of_ten_points(faces):
    rng = np.random.default_rng(0)
    network = build_model()
    _, before = predict(network, faces.pictures[:8])
    truth = rng.uniform(20, 70, (500, 15, 2))
    spread = rng.uniform(0.5, 2, (500, 15))
    wrong_by = rng.uniform(0.3, 3, 15)  # the factor that each point needs
    found = truth + rng.standard_normal((500, 15, 2)) * (spread * wrong_by)[..., None]
    truth[:, 3] = np.nan  # never labelled: gets the factor of all
    factors = calibrate(network, found, spread, truth)
    np.testing.assert_allclose(np.delete(factors / wrong_by, 3), 1, atol=0.12)
    assert wrong_by.min() < factors[3] < wrong_by.max()
    _, after = predict(network, faces.pictures[:8])
    np.testing.assert_allclose(after, before * factors, rtol=1e-4)


def test_learning_the_spread_leaves_the_key_points(faces):
    settings = replace(SETTINGS, batch_size=32, spread_steps=6)
    network = build_model()
    model = with_source_offsets(network, 1)
    points, spread = predict(network, faces.pictures[:8])
    fit_spread(network, model, faces, settings, settings.epochs)
    same, learned = predict(network, faces.pictures[:8])
    np.testing.assert_array_equal(points, same)
    assert np.abs(learned - spread).max() > 0.1
