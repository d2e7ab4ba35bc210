"""results/measures.py: measures of known errors."""

import numpy as np
import pytest

from data.key_points import KEY_POINTS
from results.measures import UNSURE, face_errors, measure, measure_spread


def test_measures_of_a_known_error():
    truth = np.full((4, 15, 2), np.nan, np.float32)
    truth[:, KEY_POINTS.index("left_eye_center")] = 60, 40
    truth[:, KEY_POINTS.index("right_eye_center")] = 40, 40
    predicted = np.nan_to_num(truth)
    predicted[0, :2] += (3, 4)  # 5 px from the truth, a quarter of the inter-ocular distance
    report = measure(predicted, truth)
    assert report["rmse_px"] == pytest.approx(np.sqrt((9 + 16) * 2 / 16))
    assert report["nme"] == pytest.approx(0.25 / 4)
    assert report["failure_rate"] == 0.25
    assert report["per_key_point"]["nose_tip"] == {
        "faces": 0,
        "rmse_px": None,
        "mean_distance_px": None,
        "median_distance_px": None,
    }
    assert face_errors(predicted, truth).tolist() == pytest.approx([np.sqrt(12.5), 0, 0, 0])


def test_a_true_spread_covers_what_it_should_and_ranks_the_errors():
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 70, (3000, 15, 2))
    spread = np.exp(rng.normal(0, 1, (3000, 15)))
    found = truth + rng.standard_normal(truth.shape) * spread[..., None]
    truth[:100, 4] = np.nan
    report = measure_spread(found, spread, truth)
    assert report["coverage"] == pytest.approx(
        {"50%": 0.5, "80%": 0.8, "90%": 0.9, "95%": 0.95}, abs=0.01
    )
    assert report["unsure_points"] == pytest.approx((spread > UNSURE).mean(), abs=0.01)
    lowest = np.sort(spread.ravel())[: int(0.8 * spread.size)]
    expected = np.sqrt((lowest**2).mean())
    assert report["rmse_without_least_certain_fifth_px"] == pytest.approx(expected, rel=0.03)
    assert report["lowered_by"] > 0.3
    # A spread that knows nothing lowers nothing.
    report = measure_spread(found, rng.permutation(spread.ravel()).reshape(3000, 15), truth)
    assert abs(report["lowered_by"]) < 0.05
