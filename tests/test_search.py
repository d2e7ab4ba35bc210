"""The search: where a face is, how large, turned by how much; and what is no face."""

import numpy as np
import pytest
from PIL import Image

from data.faces import synthetic_faces
from data.images.crops import affine_centers, affine_scales, affines_from_points, boxes_from_affines
from data.key_points import LEFT_EYE, RIGHT_EYE, SIZE
from models.detect import search as face_finder
from models.detect.checker import load_checker
from models.detect.finder import load_finder
from models.detect.search import (
    BORDER,
    SEARCHED,
    Candidates,
    check_candidates,
    find_candidates,
    find_faces,
    least_doubtful,
    other_angles,
    pick,
    searched,
    shrink,
)
from models.storage import SHIPPED, load_model


@pytest.fixture(scope="module")
def model():
    return load_model(SHIPPED)[0]


@pytest.fixture(scope="module")
def portrait():
    """Matplotlib's public-domain portrait of Grace Hopper, 512x600, from PIL in grey."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photo:
        return photo.convert("L")


@pytest.fixture(scope="module")
def upright(model, portrait):
    """Her points (15, 2) in the portrait."""
    points, _ = find_faces(model, np.asarray(portrait))
    assert len(points) == 1
    return points[0]


def side_of(points):
    return boxes_from_affines(affines_from_points(points[None]))[0, 2]


def test_copies_get_smaller_and_their_pixels_keep_their_places():
    photo = np.zeros((300, 3000), np.uint8)
    photo[100:200, 1000:1100] = 200
    sizes = []
    for picture, step in searched(shrink(photo)):
        height, width = picture.shape
        assert height % 4 == width % 4 == 0 and picture.dtype == np.float32
        sizes.append(3000 / step[0])
        edges = np.abs(np.diff(picture[(BORDER + int(150 / step[1]))]))
        if step[0] < 10:
            left = np.argmax(edges) + 1 - BORDER  # the first bright pixel, or the first dark one
            assert min(abs(left * step[0] - 1000), abs(left * step[0] - 1100)) <= 1.5 * step[0]
    assert sizes[0] == SEARCHED
    np.testing.assert_allclose(np.divide(sizes[:-1], sizes[1:])[:8], 2**0.5, rtol=0.02)


def test_a_face_of_a_hundredth_of_the_width_is_searched_for_at_20_pixels():
    for width in (2000, 6000, 9000):
        _, step = next(searched(shrink(np.zeros((width // 2, width), np.uint8))))
        assert 0.01 * width / step[0] >= 20


def test_candidates_have_the_place_the_size_and_the_turn(portrait, upright):
    side, middle = side_of(upright), upright.mean(0)
    found = []
    for degrees in range(0, 360, 30):
        turned = portrait.rotate(
            -degrees, Image.Resampling.BICUBIC, center=tuple(middle), fillcolor=90
        )
        copies = shrink(np.asarray(turned))
        candidates = find_candidates(load_finder(), copies)
        assert (np.diff(candidates.scores) <= 0).all()
        candidates = other_angles(load_finder(), copies, candidates)
        kept = check_candidates(load_checker(), copies, candidates)
        places, sides, turns, _ = pick(candidates, kept)
        near = np.abs(places - middle).max(1) < 0.2 * side
        near &= np.abs(np.log(sides / side)) < 0.3
        off = np.degrees(turns) - degrees
        near &= np.abs((off + 180) % 360 - 180) < 45
        found.append(near.any())
    assert sum(found) >= 10  # so small a network misses a turn of some faces


@pytest.mark.parametrize("degrees", (45, 180, 315))
def test_a_face_turned_by_any_angle_gets_its_points(model, portrait, upright, degrees):
    angle, middle = np.radians(degrees), upright.mean(0)
    turned = portrait.rotate(-degrees, Image.Resampling.BICUBIC, center=tuple(middle), fillcolor=90)
    points, _ = find_faces(model, np.asarray(turned))
    assert len(points) == 1
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = (upright - middle) @ turn + middle
    eyes = np.linalg.norm(upright[LEFT_EYE] - upright[RIGHT_EYE])
    assert np.linalg.norm(points[0] - expected, axis=1).mean() < 0.05 * eyes


@pytest.mark.parametrize("size", (20, 26, 100, 300))
def test_faces_of_all_sizes_are_found(model, portrait, upright, size):
    zoom = size / side_of(upright)
    small = portrait.resize((round(512 * zoom), round(600 * zoom)), Image.Resampling.LANCZOS)
    wall = Image.new("L", (1000, 800), 120)
    wall.paste(small, (300, 50))
    points, _ = find_faces(model, np.asarray(wall))
    expected = (upright + 0.5) * zoom - 0.5 + (300, 50)
    assert len(points) == 1
    assert np.linalg.norm(points[0] - expected, axis=1).mean() < 0.1 * size * 0.4


LIGHT = {
    "dark": lambda grey: grey * 0.12,
    "fog": lambda grey: 200 + grey * 0.15,
    "against the light": lambda grey: np.where(np.indices(grey.shape)[1] < 140, 255, grey * 0.12),
}


@pytest.mark.parametrize("kind", LIGHT)
def test_faces_are_found_in_any_light(model, portrait, upright, kind):
    grey = LIGHT[kind](np.asarray(portrait, np.float32)).astype(np.uint8)
    points, _ = find_faces(model, grey)
    assert len(points) == 1
    eyes = np.linalg.norm(upright[LEFT_EYE] - upright[RIGHT_EYE])
    assert np.linalg.norm(points[0] - upright, axis=1).mean() < 0.1 * eyes


def test_a_face_cut_by_the_border_is_found(model, portrait, upright):
    x, y, side, _ = boxes_from_affines(affines_from_points(upright[None]))[0].astype(int)
    cut = np.asarray(portrait)[y + side // 6 :, x + side // 8 :]
    points, _ = find_faces(model, cut)
    assert len(points) == 1
    expected = upright - (x + side // 8, y + side // 6)
    assert np.linalg.norm(points[0] - expected, axis=1).mean() < 0.1 * side


def test_no_face_is_found_where_there_is_none(model):
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    pictures = [np.asarray(picture) for picture in load_sample_images().images]
    pictures += [rng.integers(0, 256, (300, 400), np.uint8), np.full((200, 300), 128, np.uint8)]
    pictures += [np.zeros(shape, np.uint8) for shape in ((1, 1), (1, 500), (23, 23))]
    for picture in pictures:
        points, spread = find_faces(model, picture)
        assert points.shape == (0, 15, 2) and spread.shape == (0, 15)


def test_known_faces_are_not_found_again(model, portrait, upright):
    pair = Image.new("L", (1024, 600))
    for x in (0, 512):
        pair.paste(portrait, (x, 0))
    points, _ = find_faces(model, np.asarray(pair))
    np.testing.assert_allclose(points[:, :, 0] - upright[:, 0], [[0] * 15, [512] * 15], atol=3)
    others, _ = find_faces(model, np.asarray(pair), known=affines_from_points(points[:1]))
    np.testing.assert_allclose(others, points[1:], atol=0.01)
    assert not len(find_faces(model, np.asarray(pair), known=affines_from_points(points))[0])


def test_colours_are_as_good_as_grey_values(model, portrait, upright):
    points, _ = find_faces(model, np.asarray(portrait.convert("RGB")))
    np.testing.assert_allclose(points[0], upright, atol=0.1)
    with pytest.raises(ValueError, match="uint8"):
        find_faces(model, np.zeros((100, 100)))


def test_the_least_doubtful_of_several_crops_of_a_face_stays():
    crops = np.array([[[1.0, 0, x], [0, 1, 0]] for x in (0, 10, 200, 300)])
    assert least_doubtful(crops, np.array([2.0, 1.0, 9.0, 3.0]), np.full(4, 4.0)) == [1, 3]


def test_the_checker_is_surest_of_the_face_and_drops_other_things(portrait, upright):
    from sklearn.datasets import load_sample_images

    scene = Image.fromarray(load_sample_images().images[0]).convert("L")
    zoom, corner = 0.3, (430, 40)
    scene.paste(portrait.resize([round(zoom * side) for side in portrait.size]), corner)
    copies = shrink(np.asarray(scene))
    candidates = find_candidates(load_finder(), copies)
    kept = check_candidates(load_checker(), copies, candidates)
    off = candidates.places[kept[0]] - (zoom * upright.mean(0) + corner)
    assert np.abs(off).max() < 0.2 * zoom * side_of(upright)
    assert len(kept) < 0.9 * len(candidates.places)


def test_what_the_finder_is_surer_of_needs_less_of_the_checker(monkeypatch):
    logits = np.array([3.0, -1, -1, -9])
    seen = []
    monkeypatch.setattr(face_finder, "check", lambda _, crops: [seen.append(crops), logits][1])
    scores = face_finder.UPRIGHT + np.array([0, 0.9, 1.1, 1.1])
    places = np.full((4, 2), 50.0)
    candidates = Candidates(places, np.full(4, 40.0), np.zeros(4), np.exp(scores))
    photo = np.zeros((100, 100), np.uint8)
    photo[46:54, 30:70] = 200  # all that is in the middle of the crop, from left to right
    photo = shrink(photo)
    assert check_candidates(None, photo, candidates).tolist() == [0, 2]
    upright = seen[0][0]
    assert upright.shape == (64, 64) and upright[32, 32] == 200 and upright[20, 32] == 0
    check_candidates(None, photo, candidates._replace(turns=np.full(4, np.pi / 2)))
    np.testing.assert_allclose(seen[1][0], np.rot90(upright), atol=1)
    logits[2] = 5.0  # the surest first, and no more than are to be looked at
    assert check_candidates(None, photo, candidates).tolist() == [2, 0]
    monkeypatch.setattr(face_finder, "MOST_LOOKS", 1)
    assert check_candidates(None, photo, candidates).tolist() == [2]


def test_where_a_first_look_is_unclear_a_larger_crop_is_tried(monkeypatch):
    """Three places: a face as large as was thought, a larger one, and nothing."""
    world = Glances(monkeypatch, {100: 1.0, 1000: {96: 12.0, 139: 4.0}, 9000: 40.0})
    crops, doubt = face_finder.first_look(None, None, world.candidates)
    assert world.sides == [[96, 96, 96], [139]]
    assert doubt.tolist() == [1, 12, 40, 4] and len(crops) == 4


def test_looking_ends_where_nothing_more_is_found(monkeypatch):
    monkeypatch.setattr(face_finder, "AT_ONCE", 2)
    # Nothing, a face; a doubtful one, nothing; nothing twice; a face that is not looked at.
    doubts = [40.0, 1.0, 9.9, 40.0, 40.0, 40.0, 1.0]
    world = Glances(monkeypatch, {1000 * i: doubt for i, doubt in enumerate(doubts)})
    _, doubt = face_finder.first_look(None, None, world.candidates)
    # The doubtful one is tried in a larger crop as well.
    assert doubt.tolist() == [40, 1, 9.9, 40, 9.9, 40, 40]


def test_what_lies_at_a_clear_face_is_not_looked_at_again(monkeypatch):
    monkeypatch.setattr(face_finder, "AT_ONCE", 2)
    world = Glances(monkeypatch, {100: 1.0, 1000: 3.0, 110: 1.0, 1010: 3.0, 2000: 1.0})
    crops, doubt = face_finder.first_look(None, None, world.candidates)
    looked = [
        places for places, sides in zip(world.places, world.sides, strict=True) if 96 in sides
    ]
    assert looked == [[100, 1000], [1010, 2000]]


class Glances:
    """Candidates of 96 pixels in a row, by their x, and how doubtful the network is there."""

    def __init__(self, monkeypatch, doubts):
        self.doubts, self.places, self.sides = doubts, [], []
        x = np.array(list(doubts), float)
        places = np.stack([x, np.full(len(x), 100.0)], -1)
        self.candidates = Candidates(places, np.full(len(x), 96.0), 0 * x, 0 * x + 1)
        monkeypatch.setattr(face_finder, "cut_crops", self.cut)
        monkeypatch.setattr(face_finder, "predict", self.predict)
        self.face = synthetic_faces(1, seed=4).key_points[0].astype(float)

    def cut(self, copies, crops, size):
        middles = affine_centers(crops)
        self.places.append(middles[:, 0].round().astype(int).tolist())
        self.sides.append((SIZE * affine_scales(crops)).round().astype(int).tolist())
        return np.zeros((len(crops), size, size))

    def predict(self, model, pictures, names):
        spread = []
        for place, side in zip(self.places[-1], self.sides[-1], strict=True):
            doubt = self.doubts[place]
            spread.append(doubt[side] if isinstance(doubt, dict) else doubt)
        return np.repeat(self.face[None], len(spread), 0), np.repeat(
            np.array(spread)[:, None], 15, 1
        )
