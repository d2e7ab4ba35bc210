"""models/training/optimizer.py: Muon where a kernel mixes channels, AdamW elsewhere."""

import numpy as np
import pytest

from models.network import build_model
from models.training.optimizer import (
    is_inner_kernel,
    learning_rate_schedule,
    longest_momentum,
    make_optimizer,
    orthogonal,
)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (24, 24)])
def test_orthogonal_keeps_the_directions_and_evens_out_their_lengths(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, size, v = np.linalg.svd(matrix, full_matrices=False)
    matrix = u @ np.diag(np.linspace(0.1, 1, len(size))).astype(np.float32) @ v
    found = np.asarray(orthogonal(matrix))
    assert np.linalg.svd(found, compute_uv=False).min() > 0.6
    assert np.linalg.svd(found, compute_uv=False).max() < 1.3
    inner = u.T @ found @ v.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=0.02)


def test_a_step_moves_kernels_by_muon_and_the_rest_by_adamw():
    network = build_model()
    body = {v.path for v in network.trainable_variables if is_inner_kernel(v)}
    assert len(body) == 18  # all convolutions but the stem's and the two heads'
    optimizer = make_optimizer(0.01, 0.0, 0.9, 1000)
    optimizer.build(network.trainable_variables)
    before = [v.numpy() for v in network.trainable_variables]
    rng = np.random.default_rng(1)
    gradients = [  # none so small that AdamW's epsilon counts
        np.copysign(rng.uniform(0.1, 1, v.shape), rng.normal(size=v.shape)).astype(np.float32)
        for v in network.trainable_variables
    ]
    optimizer.apply(gradients)
    for variable, old, gradient in zip(network.trainable_variables, before, gradients, strict=True):
        moved = old - variable.numpy()
        if variable.path in body:
            rms = np.sqrt((moved**2).mean())
            assert 0.01 * 0.2 * 0.6 < rms < 0.01 * 0.2 * 1.2
            assert (moved * gradient).sum() > 0
        else:  # AdamW's first step is the learning rate against each gradient's sign
            np.testing.assert_allclose(moved, 0.01 * np.sign(gradient), atol=1e-3)


def test_averages_forget_the_first_weights_in_time():
    assert longest_momentum(1000) == pytest.approx(0.99) and longest_momentum(5) > 0


def test_the_learning_rate_warms_up_and_decays_to_a_hundredth():
    schedule = learning_rate_schedule(5e-3, 200, 1000)
    rates = np.array([float(schedule(step)) for step in (0, 100, 200, 600, 1000)])
    expected = [5e-5, (5e-5 + 5e-3) / 2, 5e-3, (5e-3 + 5e-5) / 2, 5e-5]
    np.testing.assert_allclose(rates, expected, rtol=1e-3)
    short = learning_rate_schedule(5e-3, 200, 50)  # a fifth of 50 steps at most
    assert float(short(10)) == pytest.approx(5e-3)
    assert float(short(11)) < 5e-3
