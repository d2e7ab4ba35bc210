"""data/split.py: near-identical pictures and one person's faces stay on the same side."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from data.faces import Faces, join_faces, load_training
from data.split import group_similar, join_similar, nearest_share, split_faces, thumbnails
from data.system.files import InputError


def test_near_identical_pictures_stay_together(faces):
    rng = np.random.default_rng(0)
    noisy = faces.pictures + rng.normal(0, 4, faces.pictures.shape)
    twice = np.concatenate([faces.pictures, np.clip(noisy * 0.8 + 20, 0, 255).astype(np.uint8)])
    count = len(faces.rows)
    groups = group_similar(twice)
    assert (groups[:count] == groups[count:]).all()
    assert len(np.unique(groups)) > count / 2
    both = join_faces([faces])._replace(
        pictures=twice,
        key_points=np.concatenate([faces.key_points] * 2),
        source=np.zeros(2 * count, int),
        rows=np.arange(2 * count),
    )
    training, validation = split_faces(both)
    assert not set(training % count) & set(validation % count)
    assert sorted([*training, *validation]) == list(range(2 * count))
    assert 0.1 * count < len(validation) / 2 < 0.3 * count


def test_equal_identities_stay_together():
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (60, 96, 96)).astype(np.uint8)
    pictures[10] = pictures[40]  # joins the people of rows 10 and 40
    identities = np.array([str(i % 25) for i in range(60)])
    groups = group_similar(pictures, identities)
    assert groups[3] == groups[28] == groups[53]
    assert groups[10] == groups[40] == groups[35] == groups[15]
    assert len(np.unique(groups)) == 24


def chains(rng, count):
    """Thumbnails of random walks, near-identical only from one step to the next, in disorder."""
    steps = rng.normal(0, 0.012, (count // 40, 40, 256)).cumsum(1) + rng.normal(
        0, 1 / 16, (count // 40, 1, 256)
    )
    described = steps.reshape(-1, 256)[rng.permutation(count)]
    described -= described.mean(1, keepdims=True)
    return (described / np.linalg.norm(described, axis=1, keepdims=True)).astype(np.float32)


def test_groups_are_those_of_dbscan(faces):
    from sklearn.cluster import DBSCAN

    rng = np.random.default_rng(0)
    blank = np.full((5, 96, 96), 7, np.uint8) * np.arange(1, 6, dtype=np.uint8)[:, None, None]
    film = np.tile(chains(rng, 40)[:1], (300, 1)) + rng.normal(0, 0.002, (300, 256))
    film = (film / np.linalg.norm(film, axis=1, keepdims=True)).astype(np.float32)
    pictures = thumbnails(np.concatenate([faces.pictures, blank, faces.pictures[:20], blank[:2]]))
    several = set()
    for described in (chains(rng, 800), film, np.concatenate([film, chains(rng, 80)]), pictures):
        eps = np.sqrt(2 - 2 * 0.95)  # the distance of vectors of length 1 that correlate by 0.95
        expected = DBSCAN(eps=eps, min_samples=1).fit_predict(described)
        np.testing.assert_array_equal(join_similar(described), expected)
        several.add(len(np.unique(expected)))
    assert len(several) == 4 and min(several) == 1
    blanks = join_similar(pictures)[120:125]
    assert len(set(blanks.tolist())) == 1  # blank pictures are near-identical


def test_the_most_similar_picture_of_another_file_is_found(faces, monkeypatch):
    from data import split

    monkeypatch.setattr(split, "BLOCK", 7)
    described = thumbnails(faces.pictures)
    nearest, correlation = split.most_similar(described[20:], described[:20])
    products = described[20:] @ described[:20].T
    np.testing.assert_array_equal(nearest, products.argmax(1))
    np.testing.assert_allclose(correlation, products.max(1), rtol=1e-5)


def test_thumbnails_are_means_of_6x6_pixels(faces):
    small = faces.pictures[:9].reshape(9, 16, 6, 16, 6).mean((2, 4)).reshape(9, -1)
    small -= small.mean(1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    np.testing.assert_allclose(thumbnails(faces.pictures[:9]), small, atol=1e-5)


def test_comparing_many_pictures_shows_how_far_it_is(monkeypatch, capsys):
    from data import split
    from data.system import progress

    seconds = itertools.count(0, 3)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(split, "BLOCK", 20)
    described = chains(np.random.default_rng(0), 120)
    split.join_similar(described)
    split.most_similar(described, described)
    said = capsys.readouterr().out
    assert "comparing pictures with one another: 80 of 120, " in said
    assert "comparing pictures with the files before: 80 of 120, " in said


def test_first_files_split_does_not_depend_on_the_others(faces):
    first, second = faces.take(slice(0, 80)), faces.take(slice(60, 120))
    moved = second._replace(key_points=second.key_points + 1)  # the same pictures, other labels
    _, alone = split_faces(first)
    joined = join_faces([first, moved])
    training, validation = split_faces(joined)
    np.testing.assert_array_equal(alone, validation[joined.source[validation] == 0])
    # A picture of both files stands on one side only.
    sides = {}
    for rows, side in ((training, 0), (validation, 1)):
        for row in rows:
            assert sides.setdefault(joined.pictures[row].tobytes(), side) == side


def test_pictures_all_alike_cannot_be_split(faces):
    with pytest.raises(InputError, match="near-identical"):
        split_faces(faces.take(np.zeros(10, int)))
    with pytest.raises(InputError, match="--validation-split"):
        split_faces(faces.take(slice(0, 3)), fraction=0.9)


def unlike_faces(groups, path="faces.csv"):
    """Faces of random pictures, which are unlike, with these identities, (N,)."""
    count = len(groups)
    pictures = np.random.default_rng(2).integers(0, 256, (count, 96, 96)).astype(np.uint8)
    rows = np.arange(count)
    key_points = np.zeros((count, 15, 2), np.float32)
    return Faces(pictures, key_points, rows, np.array(groups), rows, 0 * rows, Path(path))


@pytest.mark.parametrize("seed", range(10))
def test_the_share_is_one_of_the_rows_not_of_the_groups(seed, capsys):
    faces = unlike_faces(["one"] * 45 + [f"person {i}" for i in range(15)])
    training, held_out = split_faces(faces, seed=seed)
    assert len(held_out) == 12 and held_out.min() >= 45  # a fifth of 60; nobody on both sides
    assert sorted([*training, *held_out]) == list(range(60))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(10))
def test_a_warning_says_that_no_fair_share_is_possible(seed, capsys):
    faces = unlike_faces(["one session"] * 190 + [f"person {i}" for i in range(10)])
    training, held_out = split_faces(faces, seed=seed)
    assert held_out.tolist() == list(range(190, 200))  # as near to 40 as it gets
    said = capsys.readouterr().out
    assert said.startswith("warning: faces.csv: 10 of its 200 faces are held out instead of 20 %,")
    assert "190 are near-identical or of one identity" in said and said.count("\n") == 1


def test_a_further_file_without_a_fair_share_is_warned_of(capsys):
    first = unlike_faces([f"person {i}" for i in range(40)])
    second = unlike_faces(["a"] * 30 + ["b"] * 30)._replace(
        pictures=first.pictures[:1].repeat(60, 0)
    )
    second.pictures[:] = np.random.default_rng(3).integers(0, 256, second.pictures.shape)
    joined = join_faces([first, second])
    _, held_out = split_faces(joined)
    assert (joined.file[held_out] == 1).sum() == 30
    assert "file 2 of --data: 30 of its 60 faces are held out instead of 10 %" in (
        capsys.readouterr().out
    )


def stretches_of(rows):
    """Sorted rows as pairs of the first and last row of each stretch."""
    return [(part[0], part[-1]) for part in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)]


@pytest.mark.parametrize("count, share", [(120, 0.2), (20, 0.2), (1000, 0.05), (31, 0.9)])
def test_of_one_film_stretches_of_time_are_held_out_and_it_is_said(count, share, faces, capsys):
    rng = np.random.default_rng(0)
    film = faces.take(np.zeros(count, int))._replace(rows=np.arange(count))
    film.pictures[:] = np.clip(film.pictures + rng.normal(0, 3, film.pictures.shape), 0, 255)
    splits = [split_faces(film, share, seed=seed) for seed in (0, 0, 1)]
    for training, held_out in splits:
        assert len(held_out) == round(share * count) and len(stretches_of(held_out)) <= 2
        assert sorted([*training, *held_out]) == list(range(count))
    first, again, other = (held_out for _, held_out in splits)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[0].startswith(f"{film.path}: {count} of its {count} pictures")
    rows = " and ".join(f"{start + 1} to {stop + 1}" for start, stop in stretches_of(first))
    assert rows in said[0] or len(stretches_of(first)) < 2


def test_a_film_with_a_few_other_frames_is_still_a_film(capsys):
    faces = unlike_faces(["film"] * 118 + ["a", "b"])
    _, held_out = split_faces(faces)
    assert len(held_out) == 24 and len(stretches_of(held_out)) <= 2
    assert "118 of its 120 pictures are near-identical or of one" in capsys.readouterr().out


def test_of_a_further_film_stretches_are_held_out_too(capsys):
    first = unlike_faces([f"person {i}" for i in range(40)])
    others = np.random.default_rng(3).integers(0, 256, (50, 96, 96)).astype(np.uint8)
    film = unlike_faces(["one"] * 50)._replace(pictures=others)
    joined = join_faces([first, film])
    _, held_out = split_faces(joined)
    assert (joined.file[held_out] == 1).sum() == 5
    assert "file 2 of --data: 50 of its 50 pictures" in capsys.readouterr().out
    few = join_faces([first, film.take(slice(0, 9))])
    _, held_out = split_faces(few)
    assert (few.file[held_out] == 1).sum() == 0
    assert "warning: file 2 of --data: all 9 pictures are near-identical, so none can be held" in (
        capsys.readouterr().out
    )


def test_no_other_groups_come_nearer_to_the_share():
    rng = np.random.default_rng(4)
    for _ in range(50):
        sizes = rng.integers(1, 30, rng.integers(2, 8))
        groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        target = rng.uniform(0.05, 0.95) * len(groups)
        chosen = nearest_share(groups, target, rng)
        assert not np.isin(groups[chosen], groups[~chosen]).any()
        sums = [
            sum(some)
            for count in range(1, len(sizes))
            for some in itertools.combinations(sizes, count)
        ]
        nearest = min(abs(total - target) for total in sums)
        assert abs(chosen.sum() - target) == pytest.approx(nearest)


def test_different_seeds_hold_out_different_groups():
    groups = np.repeat(np.arange(20), 5)
    chosen = [nearest_share(groups, 25, np.random.default_rng(seed)) for seed in range(5)]
    assert all(each.sum() == 25 for each in chosen) and len(np.unique(chosen, axis=0)) == 5


def test_kaggles_split_stays_as_published_figures_have_it(real_training_csv):
    faces = join_faces([load_training(real_training_csv)])
    splits = [split_faces(faces, seed=seed)[1] for seed in range(10)]
    assert [len(held_out) for held_out in splits] == [
        474,
        419,
        357,
        425,
        447,
        392,
        414,
        426,
        455,
        410,
    ]
    digest = hashlib.sha256(b"".join(rows.astype("<i8").tobytes() for rows in splits))
    assert digest.hexdigest() == (
        "2269db3d5f50f4c79c5c3afa871d55c00a449cbc3d087a5fdf331855210409bd"
    )
