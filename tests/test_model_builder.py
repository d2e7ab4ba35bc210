"""models/training/loss.py and fit.py: the loss, and trainings as a whole."""

import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from conftest import train_in_few_steps

import model_builder as mb
from data.faces import fingerprint, load_training
from data.key_points import KEY_POINTS
from models.storage import FREE, FREE_68, SHIPPED, load_model
from models.training import fit
from models.training.loss import masked_loss


def test_masked_loss_is_the_plain_loss_on_the_rest():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 95, (8, 30)).astype(np.float32)
    predicted = truth + rng.normal(0, 5, truth.shape).astype(np.float32)
    missing = rng.random(truth.shape) < 0.4
    squared = float(np.mean((predicted - truth)[~missing] ** 2))
    holed = np.where(missing, np.nan, truth).astype(np.float32)
    weights = np.full(8, missing.size / (~missing).sum(), np.float32)  # as `batches` makes them

    def batch_loss(threshold):
        return float((np.asarray(masked_loss(threshold)(holed, predicted)) * weights).mean())

    assert batch_loss(1e9) == pytest.approx(squared, rel=1e-5)
    error = np.abs(predicted - truth)[~missing]
    bent = np.where(error < 3, error**2, 6 * error - 9).mean()
    assert batch_loss(3.0) == pytest.approx(bent, rel=1e-5)
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss = masked_loss(3.0)(holed, variable)
    gradient = tape.gradient(loss, variable).numpy()
    assert np.isfinite(gradient).all() and (gradient[missing] == 0).all()
    assert (gradient[~missing] != 0).all()


def test_emphasized_key_points_count_three_times_in_the_loss(tiny, faces, monkeypatch):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 95, (8, 30)).astype(np.float32)
    predicted = truth + rng.normal(0, 5, truth.shape).astype(np.float32)
    settings = mb.Settings(emphasized=("nose_tip", "left_eye_center"))
    weights = fit.point_weights(KEY_POINTS, settings)
    assert np.flatnonzero(weights == 3).tolist() == [0, KEY_POINTS.index("nose_tip")]
    assert (weights == 1).sum() == 13
    by_point = ((predicted - truth) ** 2).reshape(8, 15, 2).sum(-1)
    expected = (by_point * weights).sum(1) / 30
    np.testing.assert_allclose(masked_loss(1e9, weights)(truth, predicted), expected, rtol=1e-5)

    train_in_few_steps(monkeypatch)
    training, validation = faces.take(slice(0, 96)), faces.take(slice(96, None))
    losses = []
    for names in (settings.emphasized, ()):
        short = replace(settings, emphasized=names, epochs=1, batch_size=32, spread_steps=1)
        losses.append(mb.train(training, validation, short).history[0]["loss"])
    assert losses[0] > 1.1 * losses[1]


def test_the_settings_in_records_and_checkpoints_keep_their_names():
    names = {field.name for field in fields(mb.Settings)}
    since = {"full_views", "emphasized", "emphasis"}  # settings added after models/pretrained.keras
    for path, newer in ((SHIPPED, since), (FREE, set()), (FREE_68, set())):
        record = json.loads(path.with_suffix(".json").read_text())
        assert set(record["settings"]) == names - newer


def test_training_learns_and_repeats(trained, dry_run):
    """The same seed and data give the same weights, also in another process."""
    log = pd.read_csv(trained / "results" / "training_log.csv")
    assert log.epoch.tolist() == [1, 2]
    assert log.loss.iloc[-1] < 0.8 * log.loss.iloc[0]
    again = pd.read_csv(dry_run / "results" / "dry_run" / "training_log.csv")
    assert again.loss.tolist() == log.loss.tolist()
    paths = trained / "models" / "small.keras", dry_run / "models" / "dry_run.keras"
    one, other = (load_model(path)[0] for path in paths)
    same = [
        np.array_equal(a, b)
        for a, b in zip(one.weights, other.weights, strict=True)
        if "spread" not in a.path  # which `trained` hardly learns
    ]
    assert len(same) > 50 and all(same)


def test_a_warm_start_begins_where_the_first_run_ended(tiny, faces, monkeypatch):
    train_in_few_steps(monkeypatch)
    settings = mb.Settings(epochs=2, batch_size=32, spread_steps=2)
    training, validation = faces.take(slice(0, 96)), faces.take(slice(96, None))
    model, _, _ = mb.train(training, validation, settings)
    still = replace(settings, epochs=1, learning_rate=1e-9)
    warm, _, _ = mb.train(training, validation, still, initial=model)
    moved = 0
    for before, after, fresh in zip(
        *(each.trainable_variables for each in (model, warm, fit.build_model())), strict=True
    ):
        if not before.path.startswith("spread"):  # which is learned anew each time
            np.testing.assert_allclose(after, before, atol=1e-4)
            moved += np.abs(fresh.numpy() - before.numpy()).max() > 1e-3
    assert moved  # so that a start from new weights would be seen


def test_log_picture_and_record(trained, trained_csv):
    log = pd.read_csv(trained / "results" / "training_log.csv")
    assert log.columns.tolist() == [
        *("epoch", "loss", "validation_rmse_px", "learning_rate", "seconds")
    ]
    assert len(log) == 2 and log.notna().all().all()
    assert (trained / "results" / "training_process.png").stat().st_size > 10_000
    record = json.loads((trained / "models" / "small.json").read_text())
    data = record["data"][0]
    assert data["sha256"] == fingerprint(load_training(trained_csv))
    assert 12 <= len(data["validation_rows"]) <= 40
