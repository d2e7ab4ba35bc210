"""Each step of model_builder.py against what can be known without it."""

import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import refused_table, write_csv

import model_builder as mb

SETTINGS = mb.Settings()
NOTHING = dict.fromkeys(("relight", "noise", "low_resolution", "cut_out"), 0.0)
NOTHING |= dict.fromkeys(("sunglasses", "hat", "hair", "hand"), 0.0)
PLAIN = mb.replace(SETTINGS, **NOTHING)


# --- key points ---


def test_mirroring_twice_is_the_identity(faces):
    once = mb.mirror_key_points(faces.key_points)
    assert not np.array_equal(once, faces.key_points, equal_nan=True)
    np.testing.assert_allclose(mb.mirror_key_points(once), faces.key_points, atol=1e-5)


def test_mirrored_x_is_95_minus_x_and_sides_swap():
    points = np.zeros((1, 15, 2), np.float32)
    points[0, mb.KEY_POINTS.index("mouth_left_corner")] = 0, 70
    mirrored = mb.mirror_key_points(points)
    assert mirrored[0, mb.KEY_POINTS.index("mouth_right_corner")].tolist() == [95, 70]


def test_every_partner_is_of_the_other_side():
    for name, partner in zip(mb.KEY_POINTS, mb.PARTNERS, strict=True):
        other = mb.KEY_POINTS[partner]
        assert ("left" in name) == ("right" in other)
        assert name.replace("left", "").replace("right", "") == other.replace("left", "").replace(
            "right", ""
        )


def test_rmse_masks_what_is_not_labelled():
    truth = np.array([[[1, np.nan], [2, 2]]], np.float32)
    assert mb.rmse(truth + 3, truth) == pytest.approx(3)


# --- load ---


def test_load_gives_back_what_was_written(faces, training_csv):
    loaded = mb.load_faces(training_csv)
    assert loaded.pictures.dtype == np.uint8 and loaded.key_points.dtype == np.float32
    np.testing.assert_array_equal(loaded.pictures, faces.pictures)
    np.testing.assert_allclose(loaded.key_points, faces.key_points, atol=1e-4)
    assert np.isnan(loaded.key_points[0, 2]).all()


def test_gz_zip_order_of_columns_bom_and_crlf_do_not_matter(training_csv, tmp_path):
    plain = mb.load_faces(training_csv)
    packed = tmp_path / "training.csv.gz"
    packed.write_bytes(gzip.compress(training_csv.read_bytes()))
    zipped = tmp_path / "training.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(training_csv, "training.csv")
    turned = tmp_path / "turned.csv"
    table = pd.read_csv(training_csv)
    table = table[table.columns[::-1]].assign(extra="ignored")
    text = table.to_csv(index=False, lineterminator="\r\n", quoting=1)
    turned.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for path in (packed, zipped, turned):
        loaded = mb.load_faces(path)
        np.testing.assert_array_equal(loaded.pictures, plain.pictures)
        np.testing.assert_array_equal(loaded.key_points, plain.key_points)
        assert mb.fingerprint(loaded) == mb.fingerprint(plain)


def test_test_file_has_ids_and_no_key_points(test_csv, tmp_path):
    loaded = mb.load_faces(test_csv)
    assert loaded.key_points is None
    assert loaded.image_ids[:3].tolist() == ["3", "10", "17"]
    bare = write_csv(tmp_path / "bare.csv", loaded.pictures[:2])
    assert mb.load_faces(bare).image_ids.tolist() == [1, 2]


def test_complete_only_and_rows_without_a_label(faces, tmp_path):
    key_points = faces.key_points[:9].copy()
    key_points[4] = np.nan
    path = write_csv(tmp_path / "some.csv", faces.pictures[:9], key_points)
    assert mb.load_training(path).rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert mb.load_training(path, complete_only=True).rows.tolist() == [1, 2, 5, 7, 8]


def broken(field, value, row=1):
    """A change to one field of a good table."""

    def change(table):
        table = table.astype({field: object})
        table.loc[row, field] = value
        return table

    return change


PIXELS = " ".join(["7"] * 9216)
BAD_TABLES = {
    "few pixels": (broken("Image", "1 2 3"), "row 2 .* 3 grey values"),
    "no pixels": (broken("Image", ""), "row 2 .* 0 grey values"),
    "300": (broken("Image", "300" + PIXELS[1:]), "row 2 .* grey value 300"),
    "-1": (broken("Image", "-1" + PIXELS[1:]), "row 2 .* grey value -1"),
    "1.5": (broken("Image", "1.5" + PIXELS[1:]), "row 2 .* whole numbers"),
    "nan": (broken("Image", "nan" + PIXELS[1:]), "row 2 .* whole numbers"),
    "huge": (broken("Image", "4294967297" + PIXELS[1:]), "row 2 .* grey value 4294967297"),
    "text": (broken("nose_tip_x", "abc"), "nose_tip_x in row 2 .* 'abc'"),
    "inf": (broken("nose_tip_x", "inf"), "nose_tip_x in row 2 .*inf"),
    "1e30": (broken("nose_tip_y", 1e30), "nose_tip_y in row 2 .*1e"),
    "no Image": (lambda table: table.drop(columns="Image"), "no column named Image"),
    "half a pair": (lambda table: table.drop(columns="nose_tip_y"), "only one of nose_tip_x"),
    "no rows": (lambda table: table[:0], "no rows"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_table_is_one_sentence_that_says_where(case, training_csv, tmp_path):
    refused_table(training_csv, tmp_path, *BAD_TABLES[case])


def test_bad_row_far_down_is_named(faces, tmp_path):
    pictures = np.concatenate([faces.pictures] * 3)
    path = write_csv(tmp_path / "long.csv", pictures)
    table = pd.read_csv(path)
    table.loc[299, "Image"] = "1 2"
    table.to_csv(path, index=False)
    with pytest.raises(mb.InputError, match="row 300 below the header"):
        mb.load_faces(path)


def test_unreadable_files_are_one_sentence(training_csv, tmp_path):
    content = training_csv.read_bytes()
    cases = {
        "missing.csv": None,
        "empty.csv": b"",
        "utf16.csv": content[:50000].decode().encode("utf-16"),
        "cut.csv.gz": gzip.compress(content)[:5000],
        "fake.csv.gz": b"not gzip at all",
        "fake.zip": b"not a zip at all",
        "ragged.csv": b"a,b\n1,2\n1,2,3\n",
    }
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(mb.InputError, match=name) as caught:
            mb.load_faces(tmp_path / name)
        assert "\n" not in str(caught.value)
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a.csv", content)
        archive.writestr("b.csv", content)
    with pytest.raises(mb.InputError, match="two.zip"):
        mb.load_faces(two)
    with pytest.raises(mb.InputError, match="is a folder"):
        mb.load_faces(tmp_path)


def test_training_on_a_test_file_or_without_labels_is_an_error(faces, test_csv, tmp_path):
    with pytest.raises(mb.InputError, match="no key point columns"):
        mb.load_training(test_csv)
    nothing = np.full((3, 15, 2), np.nan)
    path = write_csv(tmp_path / "unlabelled.csv", faces.pictures[:3], nothing)
    with pytest.raises(mb.InputError, match="no row with any"):
        mb.load_training(path)


def test_joining_counts_a_repeated_row_once_and_keeps_the_source(faces):
    first, second = faces.take(slice(0, 10)), faces.take(slice(8, 14))
    joined = mb.join_faces([first, second._replace(identities=np.array(list("aabbcc")))])
    assert joined.source.tolist() == [0] * 10 + [1] * 4
    assert joined.rows.tolist() == list(range(14))
    assert joined.identities[-1] == "c" and len(set(joined.identities[:10])) == 10


# --- split ---


def test_near_identical_pictures_stay_together(faces):
    rng = np.random.default_rng(0)
    noisy = faces.pictures + rng.normal(0, 4, faces.pictures.shape)
    twice = np.concatenate([faces.pictures, np.clip(noisy * 0.8 + 20, 0, 255).astype(np.uint8)])
    count = len(faces.rows)
    groups = mb.group_similar(twice)
    assert (groups[:count] == groups[count:]).all()
    assert len(np.unique(groups)) > count / 2
    both = mb.join_faces([faces])._replace(
        pictures=twice,
        key_points=np.concatenate([faces.key_points] * 2),
        source=np.zeros(2 * count, int),
        rows=np.arange(2 * count),
    )
    training, validation = mb.split_faces(both)
    assert not set(training % count) & set(validation % count)
    assert sorted([*training, *validation]) == list(range(2 * count))
    assert 0.1 * count < len(validation) / 2 < 0.3 * count


def test_equal_identities_stay_together():
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (60, 96, 96)).astype(np.uint8)
    pictures[10] = pictures[40]  # joins the people of rows 10 and 40
    identities = np.array([str(i % 25) for i in range(60)])
    groups = mb.group_similar(pictures, identities)
    assert groups[3] == groups[28] == groups[53]
    assert groups[10] == groups[40] == groups[35] == groups[15]
    assert len(np.unique(groups)) == 24


def test_first_files_split_does_not_depend_on_the_others(faces):
    first, second = faces.take(slice(0, 80)), faces.take(slice(60, 120))
    moved = second._replace(key_points=second.key_points + 1)  # the same pictures, other labels
    _, alone = mb.split_faces(first)
    joined = mb.join_faces([first, moved])
    training, validation = mb.split_faces(joined)
    np.testing.assert_array_equal(alone, validation[joined.source[validation] == 0])
    # A picture of both files stands on one side only.
    sides = {}
    for rows, side in ((training, 0), (validation, 1)):
        for row in rows:
            assert sides.setdefault(joined.pictures[row].tobytes(), side) == side


def test_pictures_all_alike_cannot_be_split(faces):
    with pytest.raises(mb.InputError, match="near-identical"):
        mb.split_faces(faces.take(np.zeros(10, int)))
    with pytest.raises(mb.InputError, match="--validation-split"):
        mb.split_faces(faces.take(slice(0, 3)), fraction=0.9)


# --- augment ---


def test_points_land_where_a_painted_pixel_lands():
    rng = np.random.default_rng(3)
    points = rng.uniform(30, 65, (40, 15, 2)).round()
    matrices = mb.draw_matrices(40, rng, SETTINGS)
    assert {1, -1} == set(np.sign(np.linalg.det(matrices)))
    y, x = np.mgrid[:96, :96]
    for k in (0, 3, 10, 12):
        spots = np.exp(-((x - points[:, k, 0, None, None]) ** 2 / 4)) * 255
        spots = spots * np.exp(-((y - points[:, k, 1, None, None]) ** 2 / 4))
        pictures, moved = mb.warp(spots, points, matrices)
        total = pictures.sum((1, 2))
        found = np.stack([(pictures * x).sum((1, 2)), (pictures * y).sum((1, 2))], -1)
        mirrored = np.linalg.det(matrices) < 0
        expected = np.where(mirrored[:, None], moved[:, mb.PARTNERS[k]], moved[:, k])
        np.testing.assert_allclose(found / total[:, None], expected, atol=0.1)


def test_augmenting_keeps_missing_points_missing_and_swaps_them(faces):
    rng = np.random.default_rng(0)
    one_sided = np.zeros((64, 15, 2), np.float32) + 40
    one_sided[:, mb.KEY_POINTS.index("left_eyebrow_outer_end")] = np.nan
    pictures, moved = mb.augment(faces.pictures[:64], one_sided, rng, SETTINGS)
    lost = np.isnan(moved[..., 0])
    assert (lost.sum(1) == 1).all()
    right = lost[:, mb.KEY_POINTS.index("right_eyebrow_outer_end")]
    assert 10 < right.sum() < 54
    assert pictures.shape == (64, 96, 96) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 255 and np.isfinite(pictures).all()


def test_short_trainings_see_milder_views_and_long_ones_do_not():
    default = mb.Settings()
    long = mb.replace(default, epochs=16)
    assert mb.milder(default) == default and mb.milder(long) == long
    quarter = mb.milder(mb.replace(default, epochs=4))
    assert quarter.rotation == default.rotation / 4 and quarter.hand == default.hand / 4
    assert quarter.flip == default.flip and quarter.batch_size == default.batch_size


def test_no_augmentation_leaves_the_faces_as_they_are(faces):
    names = ("flip", "rotation", "scale", "stretch", "perspective", "shift")
    still = mb.replace(PLAIN, **dict.fromkeys(names, 0.0))
    pictures, moved = mb.augment(faces.pictures, faces.key_points, np.random.default_rng(0), still)
    np.testing.assert_allclose(moved, faces.key_points, atol=1e-4)
    # Only the sharpness changes, which keeps the mean.
    difference = pictures.mean((1, 2)) - faces.pictures.mean((1, 2))
    assert np.abs(difference).max() < 1.5


def test_glasses_darken_the_eyes_and_hats_cover_the_top(faces):
    grey = np.full((50, 96, 96), 128, np.float32)
    points = np.tile(faces.key_points[1:2], (50, 1, 1))
    x, y = points[0, mb.LEFT_EYE].round().astype(int)
    shaded = grey.copy()
    mb.occlude(shaded, points, np.random.default_rng(0), mb.replace(PLAIN, sunglasses=1.0))
    assert (shaded[:, y, x] < 110).all() and (shaded[:, 90] == 128).all()
    topped = grey.copy()
    mb.occlude(topped, points, np.random.default_rng(0), mb.replace(PLAIN, hat=1.0))
    assert (topped[:, 2, 48] != 128).all() and (topped[:, 90] == 128).all()


@pytest.mark.parametrize("what", ["hair", "hand"])
def test_hair_and_hands_cover_some_of_every_face_and_leave_most(faces, what):
    pictures = faces.pictures[:40].astype(np.float32)
    before = pictures.copy()
    points = np.tile(faces.key_points[1:2], (40, 1, 1))
    mb.occlude(pictures, points, np.random.default_rng(0), mb.replace(PLAIN, **{what: 1.0}))
    covered = (np.abs(pictures - before) > 1).mean((1, 2))
    assert covered.min() > 0.01 and np.median(covered) < 0.5
    assert pictures.min() >= 0 and np.isfinite(pictures).all()


def test_unlabelled_eyes_get_no_glasses():
    pictures = np.full((20, 96, 96), 128, np.float32)
    nothing = np.full((20, 15, 2), np.nan, np.float32)
    settings = mb.replace(PLAIN, sunglasses=1.0, hat=1.0, hair=1.0, hand=1.0)
    mb.occlude(pictures, nothing, np.random.default_rng(0), settings)
    assert (pictures == 128).all()


def test_batches_repeat_with_the_seed_and_cover_each_epoch(faces):
    settings = mb.replace(SETTINGS, batch_size=40)
    joined = mb.join_faces([faces])

    def some(count, **changes):
        stream = mb.batches(joined, mb.replace(settings, **changes))
        return [next(stream) for _ in range(count)]

    first, again, other = some(4), some(4), some(1, seed=9)
    for (inputs, y, _), (inputs2, y2, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(inputs[0], inputs2[0])
        np.testing.assert_array_equal(y, y2)
    assert not np.array_equal(first[0][1], other[0][1], equal_nan=True)
    assert first[0][0][0].shape == (40, 96, 96, 1) and first[0][1].shape == (40, 30)
    later = next(mb.batches(joined, settings, first_epoch=1))
    np.testing.assert_array_equal(later[0][0], first[3][0][0])


def test_no_two_parts_of_a_batch_draw_the_same_views(faces):
    same = faces.take(np.zeros(128, int))
    stream = mb.batches(same, mb.replace(SETTINGS, batch_size=64))
    views = np.concatenate([next(stream)[0][0] for _ in range(3)])  # into the next epoch
    assert len(np.unique(views.reshape(192, -1), axis=0)) == 192


def test_non_faces_are_pictures_that_do_not_look_like_what_they_came_from(faces):
    pictures = faces.pictures[:100].astype(np.float32)
    before = pictures.copy()
    made = mb.non_faces(pictures, np.random.default_rng(0))
    assert made.shape == pictures.shape and made.min() >= 0 and made.max() <= 255
    np.testing.assert_array_equal(pictures, before)
    alike = (mb.thumbnails(made) * mb.thumbnails(pictures)).sum(1)
    assert np.median(alike) < 0.3 and (alike > 0.9).mean() < 0.05


def test_a_share_of_the_spreads_batches_shows_no_face(faces):
    settings = mb.replace(SETTINGS, batch_size=40, non_faces=0.25)
    (pictures, _), truth = next(mb.batches_with_non_faces(mb.join_faces([faces]), settings))
    (again, _), plain, _ = next(mb.batches(faces, settings, first_epoch=settings.epochs))
    np.testing.assert_array_equal(pictures[10:], again[10:])
    np.testing.assert_array_equal(truth[10:], plain[10:])
    assert np.isfinite(truth[:10]).all() and 20 < truth[:10].std() < 35
    assert (pictures[:10] != again[:10]).any((1, 2, 3)).all()


def test_first_file_is_repeated_beside_others(faces):
    joined = mb.join_faces([faces.take(slice(0, 10)), faces.take(slice(10, 30))])
    rows, counts = np.unique(mb.epoch_rows(joined, SETTINGS), return_counts=True)
    assert counts.tolist() == [10] * 10 + [1] * 20 and rows.tolist() == list(range(30))


# --- model and training ---


def test_soft_argmax_of_a_painted_peak_is_its_place():
    """A model whose maps peak at one cell, with a known offset, predicts that place exactly."""
    import keras

    model = mb.build_model()
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
    model = mb.build_model()
    assert model.input_shape == (None, 96, 96, 1)
    outputs = {name: tensor.shape for name, tensor in model.output.items()}
    assert outputs == {"key_points": (None, 30), "spread": (None, 15)}
    assert model.count_params() <= 2_000_000


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
        return float((np.asarray(mb.masked_loss(threshold)(holed, predicted)) * weights).mean())

    assert batch_loss(1e9) == pytest.approx(squared, rel=1e-5)
    error = np.abs(predicted - truth)[~missing]
    bent = np.where(error < 3, error**2, 6 * error - 9).mean()
    assert batch_loss(3.0) == pytest.approx(bent, rel=1e-5)
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss = mb.masked_loss(3.0)(holed, variable)
    gradient = tape.gradient(loss, variable).numpy()
    assert np.isfinite(gradient).all() and (gradient[missing] == 0).all()
    assert (gradient[~missing] != 0).all()


def test_source_offsets_leave_the_first_file_alone_and_are_mirror_true():
    network = mb.build_model()
    model = mb.with_source_offsets(network, 3)
    offsets = np.random.default_rng(0).normal(0, 1, (3, 30)).astype(np.float32)
    model.get_layer("source_offsets").set_weights([offsets])
    picture = np.full((3, 96, 96, 1), 99, np.float32)
    plain = network.predict(picture, verbose=0)
    moved = model.predict((picture, np.array([[0], [1], [2]])), verbose=0)
    np.testing.assert_array_equal(moved["spread"], plain["spread"])
    difference = (moved["key_points"] - plain["key_points"]).reshape(-1, 15, 2)
    assert (difference[0] == 0).all() and np.abs(difference[1:]).max() > 1
    np.testing.assert_allclose(
        difference[:, mb.PARTNERS] * [-1, 1], difference, rtol=1e-3, atol=1e-3
    )
    model = mb.with_source_offsets(network, 3, alike=[13, 14])
    model.get_layer("source_offsets").set_weights([offsets])
    alike = model.predict((picture, np.array([[0], [1], [2]])), verbose=0)
    expected = moved["key_points"].copy()
    expected[:, 26:] = plain["key_points"][:, 26:]
    np.testing.assert_array_equal(alike["key_points"], expected)


def test_trained_model_loads_with_plain_keras_and_predicts_the_same(trained, faces):
    import keras

    model = keras.saving.load_model(trained / "models" / "small.keras", safe_mode=True)
    ours, record = mb.load_model(trained / "models" / "small.keras")
    inputs = faces.pictures[:8, ..., None]
    key_points, spread = mb.predict(ours, faces.pictures[:8])
    found = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(found["key_points"], key_points.reshape(8, -1), atol=1e-4)
    np.testing.assert_allclose(found["spread"], spread, atol=1e-4)
    assert record["settings"]["epochs"] == 3 and record["versions"]["keras"]
    held_out = record["data"][0]["validation_rows"]
    truth = faces.key_points[held_out]
    error = mb.rmse(mb.predict(ours, faces.pictures[held_out])[0], truth)
    assert error == pytest.approx(record["results"]["validation"][0]["rmse_px"], abs=1e-3)


def test_saved_model_predicts_what_the_live_one_did(faces, tmp_path):
    model = mb.build_model()
    mb.save_model(model, tmp_path / "live.keras", {"a": 1})
    loaded, record = mb.load_model(tmp_path / "live.keras")
    live = mb.predict(model, faces.pictures[:4])
    for again, before in zip(mb.predict(loaded, faces.pictures[:4]), live, strict=True):
        np.testing.assert_allclose(again, before, atol=1e-4)
    assert record["a"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"live.keras", "live.json"}


def test_mirrored_prediction_is_mirror_true(trained, faces):
    model, _ = mb.load_model(trained / "models" / "small.keras")
    found, spread = mb.predict(model, faces.pictures[:6], mirror=True)
    turned, other = mb.predict(model, faces.pictures[:6, :, ::-1], mirror=True)
    np.testing.assert_allclose(mb.mirror_key_points(turned), found, atol=1e-3)
    np.testing.assert_allclose(other[:, mb.PARTNERS], spread, rtol=1e-3)
    # Where the two disagree, the spread says so.
    plain, narrow = mb.predict(model, faces.pictures[:6])
    half = np.linalg.norm(found - plain, axis=-1) / np.sqrt(2)
    assert (spread >= half * 0.999).all() and (narrow > 0).all()


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
    assert float(mb.spread_loss(truth, found)) == pytest.approx(np.mean(expected), abs=5e-3)


def test_calibrated_regions_hold_nine_of_ten_points(faces):
    rng = np.random.default_rng(0)
    network = mb.build_model()
    _, before = mb.predict(network, faces.pictures[:8])
    truth = rng.uniform(20, 70, (500, 15, 2))
    spread = rng.uniform(0.5, 2, (500, 15))
    wrong_by = rng.uniform(0.3, 3, 15)  # the factor that each point needs
    found = truth + rng.standard_normal((500, 15, 2)) * (spread * wrong_by)[..., None]
    truth[:, 3] = np.nan  # never labelled: gets the factor of all
    factors = mb.calibrate(network, found, spread, truth)
    np.testing.assert_allclose(np.delete(factors / wrong_by, 3), 1, atol=0.12)
    assert wrong_by.min() < factors[3] < wrong_by.max()
    _, after = mb.predict(network, faces.pictures[:8])
    np.testing.assert_allclose(after, before * factors, rtol=1e-4)


def test_learning_the_spread_leaves_the_key_points(faces):
    settings = mb.replace(SETTINGS, batch_size=32, spread_steps=6)
    network = mb.build_model()
    model = mb.with_source_offsets(network, 1)
    points, spread = mb.predict(network, faces.pictures[:8])
    mb.fit_spread(network, model, faces, settings)
    same, learned = mb.predict(network, faces.pictures[:8])
    np.testing.assert_array_equal(points, same)
    assert np.abs(learned - spread).max() > 0.1


def test_training_learns_and_repeats(faces):
    settings = mb.replace(SETTINGS, epochs=3, batch_size=32, spread_steps=2)
    training, validation = faces.take(slice(0, 96)), faces.take(slice(96, None))
    _, history, _ = mb.train(training, validation, settings)
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    _, again, _ = mb.train(training, validation, settings)
    assert [line["loss"] for line in again] == [line["loss"] for line in history]


def test_a_warm_start_begins_where_the_first_run_ended(tiny, faces):
    settings = mb.replace(SETTINGS, epochs=2, batch_size=32, spread_steps=2)
    training, validation = faces.take(slice(0, 96)), faces.take(slice(96, None))
    model, _, _ = mb.train(training, validation, settings)
    still = mb.replace(settings, epochs=1, learning_rate=1e-9)
    warm, _, _ = mb.train(training, validation, still, initial=model)
    moved = 0
    for before, after, fresh in zip(
        *(each.trainable_variables for each in (model, warm, mb.build_model())), strict=True
    ):
        if not before.path.startswith("spread"):  # which is learned anew each time
            np.testing.assert_allclose(after, before, atol=1e-4)
            moved += np.abs(np.array(fresh) - np.array(before)).max() > 1e-3
    assert moved  # so that a start from new weights would be seen


def test_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("earlier")

    def fail(file):
        file.write_text("half of it")
        raise OSError("disk full")

    with pytest.raises(mb.InputError, match="model.keras cannot be written .disk full"):
        mb.replace_file(path, fail)
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
        with pytest.raises(mb.InputError, match=f"{name}.keras") as caught:
            mb.load_model(tmp_path / f"{name}.keras")
        assert "\n" not in str(caught.value)


# --- what the run leaves ---


def test_log_picture_and_record(trained, training_csv):
    log = pd.read_csv(trained / "results" / "training_log.csv")
    assert log.columns.tolist() == [
        *("epoch", "loss", "validation_rmse_px", "learning_rate", "seconds")
    ]
    assert len(log) == 3 and log.notna().all().all()
    assert (trained / "results" / "training_process.png").stat().st_size > 10_000
    record = json.loads((trained / "models" / "small.json").read_text())
    data = record["data"][0]
    assert data["sha256"] == mb.fingerprint(mb.load_training(training_csv))
    assert 12 <= len(data["validation_rows"]) <= 40
