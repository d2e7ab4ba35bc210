"""data/split.py: near-identical pictures and one person's faces stay on the same side."""

import numpy as np
import pytest

from data.faces import join_faces
from data.split import group_similar, split_faces
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
