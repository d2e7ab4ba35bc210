"""The search: position, size and angle of faces; and what is rejected as a non-face."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from data.faces import synthetic_faces
from data.images.aligned_crops import TEMPLATE
from data.images.crops import (
    affine_centers,
    affine_scales,
    affines_from_points,
    boxes_from_affines,
    similarity_transforms,
    transform_points,
)
from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE, SIZE
from data.synthetic.rendered.camera import Camera, Pose
from data.synthetic.rendered.points import draw_head, find_points, read_places
from models.detect import candidates as proposals
from models.detect import search
from models.detect.candidates import (
    Candidates,
    Networks,
    add_rotations,
    check_candidates,
    drop_duplicates,
    find_candidates,
    finder_inputs,
    load_networks,
    refine_candidates,
    search_pyramid,
    select_candidates,
)
from models.detect.search import (
    detect,
    detect_in_boxes,
    first_predictions,
    predict_candidates,
    suppress,
)
from models.detect.settings import DEFAULTS, FREE, SearchSettings, settings_of
from models.spread import face_spread
from models.storage import SHIPPED, load_landmarker


@pytest.fixture(scope="module")
def model():
    return load_landmarker(SHIPPED)


@pytest.fixture(scope="module")
def portrait():
    """Matplotlib's public-domain portrait of Grace Hopper, 512x600, from PIL in grey."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photo:
        return photo.convert("L")


@pytest.fixture(scope="module")
def upright(model, portrait):
    """Her points (15, 2) in the portrait."""
    points = detect(model, np.asarray(portrait)).points
    assert len(points) == 1
    return points[0]


def side_of(points):
    return boxes_from_affines(affines_from_points(points[None]))[0, 2]


def test_copies_get_smaller_and_their_pixels_keep_their_places():
    photo = np.zeros((300, 3000), np.uint8)
    photo[100:200, 1000:1100] = 200
    sizes = []
    for picture, step in finder_inputs(search_pyramid(photo)):
        height, width = picture.shape
        assert height % 4 == width % 4 == 0 and picture.dtype == np.float32
        sizes.append(3000 / step[0])
        edges = np.abs(np.diff(picture[(DEFAULTS.border + int(150 / step[1]))]))
        if step[0] < 10:
            left = (
                np.argmax(edges) + 1 - DEFAULTS.border
            )  # the first bright pixel, or the first dark one
            assert min(abs(left * step[0] - 1000), abs(left * step[0] - 1100)) <= 1.5 * step[0]
    assert sizes[0] == DEFAULTS.width
    np.testing.assert_allclose(np.divide(sizes[:-1], sizes[1:])[:8], 2**0.5, rtol=0.02)


def test_a_face_of_a_hundredth_of_the_width_is_searched_for_at_20_pixels():
    for width in (2000, 6000, 9000):
        _, step = next(finder_inputs(search_pyramid(np.zeros((width // 2, width), np.uint8))))
        assert 0.01 * width / step[0] >= 20


def test_candidates_have_the_place_the_size_and_the_turn(portrait, upright):
    networks = load_networks()
    side, middle = side_of(upright), upright.mean(0)
    found = []
    for degrees in range(0, 360, 30):
        turned = portrait.rotate(
            -degrees, Image.Resampling.BICUBIC, center=tuple(middle), fillcolor=90
        )
        pyramid = search_pyramid(np.asarray(turned))
        candidates = find_candidates(networks.finder, pyramid)
        assert (np.diff(candidates.scores) <= 0).all()
        candidates = add_rotations(networks.finder, pyramid, candidates)
        centers, sides, angles, _ = select_candidates(networks, pyramid, candidates)
        near = np.abs(centers - middle).max(1) < 0.15 * side
        near &= np.abs(np.log(sides / side)) < 0.25
        off = np.degrees(angles) - degrees
        near &= np.abs((off + 180) % 360 - 180) < 30
        found.append(near.any())
    assert sum(found) >= 10  # so small networks miss a turn of some faces


def test_the_refiner_moves_candidates_onto_the_face(portrait, upright):
    """Off centre, too small, rotated, and all of it at once."""
    side, middle = side_of(upright), upright.mean(0)
    wrong = np.array(
        [(x, 0, 0, 0) for x in (-0.35, 0.35)]
        + [(0, y, 0, 0) for y in (-0.35, 0.35)]
        + [(0, 0, log_scale, 0) for log_scale in (-0.6, -0.3)]
        + [(0, 0, 0, angle) for angle in (-30, 30)]
        + [(0.2, -0.2, -0.4, 30), (-0.2, 0.2, -0.4, -30)]
    )
    place = Candidates(
        middle + side * wrong[:, :2],
        side * np.exp(wrong[:, 2]),
        np.radians(wrong[:, 3]),
        wrong[:, 0],
    )
    pyramid = search_pyramid(np.asarray(portrait))
    place = refine_candidates(load_networks().refiner, pyramid, place)
    assert np.abs(place.centers - middle).max() < 0.2 * side
    assert np.abs(np.log(place.sides / side)).max() < 0.3
    assert np.abs(np.degrees(place.angles)).max() < 15


def test_candidates_that_became_the_same_are_tried_once():
    candidates = Candidates(
        np.array([[50.0, 50], [54, 50], [58, 50], [50, 50], [50, 50]]),
        np.array([40.0, 40, 40, 60, 40]),
        np.array([0.0, 0, 0, 0, 1]),
        np.arange(5.0),
    )
    assert drop_duplicates(candidates).scores.tolist() == [0, 2, 3, 4]
    assert drop_duplicates(candidates.take(np.s_[:0])).scores.tolist() == []


def test_candidates_that_come_to_the_same_place_are_refined_once_more_as_one(monkeypatch):
    """Two that the refiner moves to the middle between them, and one far away."""
    seen = []

    def moved(_, crops):
        seen.append(len(crops))
        offsets = [0.25, -0.25, 0.0] if len(crops) == 3 else [0.0, 0.0]
        return np.array([[1.0, 0, x, 0, 0] for x in offsets])

    monkeypatch.setattr(proposals, "refine", moved)
    places = np.array([[50.0, 50], [70, 50], [150, 50]])
    candidates = Candidates(places, np.full(3, 40.0), np.zeros(3), np.arange(3.0))
    pyramid = search_pyramid(np.zeros((100, 200), np.uint8))
    refined = refine_candidates(None, pyramid, candidates)
    assert seen == [3, 2]
    assert refined.centers.tolist() == [[60, 50], [150, 50]] and refined.scores.tolist() == [0, 2]


def test_free_weights_have_their_own_limits(portrait, upright, monkeypatch):
    landmarker = load_landmarker(ROOT / "models" / "synthetic_small.tflite")
    assert landmarker.free and not load_landmarker(ROOT / "models" / "pretrained_small.tflite").free
    faces = detect(landmarker, np.asarray(portrait))
    assert len(faces) == 1
    eyes = np.linalg.norm(upright[LEFT_EYE] - upright[RIGHT_EYE])
    assert np.linalg.norm(faces.points[0] - upright, axis=1).mean() < 0.08 * eyes
    # None below its spread, which is far below what research weights may have.
    strict = replace(FREE, max_spread=face_spread(faces.spread)[0] - 0.01)
    assert not len(detect(landmarker, np.asarray(portrait), settings=strict))
    monkeypatch.setattr("models.detect.settings.FREE", strict)
    assert not len(detect(landmarker, np.asarray(portrait)))


@pytest.mark.parametrize("degrees", (45, 180, 315))
def test_a_face_turned_by_any_angle_gets_its_points(model, portrait, upright, degrees):
    angle, middle = np.radians(degrees), upright.mean(0)
    turned = portrait.rotate(-degrees, Image.Resampling.BICUBIC, center=tuple(middle), fillcolor=90)
    points = detect(model, np.asarray(turned)).points
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
    points = detect(model, np.asarray(wall)).points
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
    points = detect(model, grey).points
    assert len(points) == 1
    eyes = np.linalg.norm(upright[LEFT_EYE] - upright[RIGHT_EYE])
    assert np.linalg.norm(points[0] - upright, axis=1).mean() < 0.1 * eyes


def test_a_face_cut_by_the_border_is_found(model, portrait, upright):
    x, y, side, _ = boxes_from_affines(affines_from_points(upright[None]))[0].astype(int)
    cut = np.asarray(portrait)[y + side // 6 :, x + side // 8 :]
    points = detect(model, cut).points
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
        faces = detect(model, picture)
        assert faces.points.shape == (0, 15, 2) and faces.spread.shape == (0, 15)


def test_known_faces_are_not_found_again(model, portrait, upright):
    pair = Image.new("L", (1024, 600))
    for x in (0, 512):
        pair.paste(portrait, (x, 0))
    points = detect(model, np.asarray(pair)).points
    np.testing.assert_allclose(points[:, :, 0] - upright[:, 0], [[0] * 15, [512] * 15], atol=3)
    others = detect(model, np.asarray(pair), known=affines_from_points(points[:1])).points
    np.testing.assert_allclose(others, points[1:], atol=0.01)
    assert not len(detect(model, np.asarray(pair), known=affines_from_points(points)))


def test_colours_are_as_good_as_grey_values(model, portrait, upright):
    points = detect(model, np.asarray(portrait.convert("RGB"))).points
    np.testing.assert_allclose(points[0], upright, atol=0.1)
    with pytest.raises(ValueError, match="uint8"):
        detect(model, np.zeros((100, 100)))


def test_every_kind_of_photo_gives_the_same_faces(model, portrait, upright):
    grey = np.asarray(portrait)
    kinds = {
        "(H, W)": grey,
        "(H, W, 1)": grey[..., None],
        "(H, W, 3)": np.repeat(grey[..., None], 3, -1),
        "not contiguous": np.asfortranarray(grey),
        "PIL": portrait,
        "PIL, colour": portrait.convert("RGB"),
        "PIL, transparent": portrait.convert("RGBA"),
        "PIL, palette": portrait.convert("P"),
        "PIL, 16 bits": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    for kind, photo in kinds.items():
        assert np.abs(detect(model, photo).points - upright).max() < 0.1, kind


NO_PHOTOS = {
    "of fractions": np.zeros((40, 30), np.float32),
    "of 16 bits": np.zeros((40, 30, 3), np.uint16),
    "with alpha": np.zeros((40, 30, 4), np.uint8),
    "a batch": np.zeros((2, 40, 30, 3), np.uint8),
    "a row": np.zeros(40, np.uint8),
    "a path": "photo.jpg",
    "nothing": None,
    "no rows": np.zeros((0, 30), np.uint8),
    "no columns": np.zeros((40, 0, 3), np.uint8),
    "no columns, one plane": np.zeros((40, 0, 1), np.uint8),
    "an empty image": Image.new("RGB", (0, 7)),
}


@pytest.mark.parametrize("kind", NO_PHOTOS)
def test_what_is_no_photo_is_one_clear_sentence(kind, model):
    for find in (detect, lambda *both: detect_in_boxes(*both, [[0, 0, 9, 9]])):
        with pytest.raises(
            ValueError, match="photo must be a PIL image or uint8|has no pixels"
        ) as e:
            find(model, NO_PHOTOS[kind])
        assert "\n" not in str(e.value)


def test_detections_have_boxes_affines_and_aligned_crops(model, portrait, upright):
    colours = np.stack([np.asarray(portrait)] * 2 + [np.full((600, 512), 7, np.uint8)], -1)
    faces = detect(model, colours)
    assert len(faces) == 1 and faces.names == KEY_POINTS
    assert faces.points.shape == (1, 15, 2) and faces.spread.shape == (1, 15)
    np.testing.assert_array_equal(faces.affines, affines_from_points(faces.points))
    np.testing.assert_array_equal(faces.boxes, boxes_from_affines(faces.affines))
    scale = faces.boxes[0, 2] / SIZE
    np.testing.assert_allclose(faces.spread_in_photo, scale * faces.spread)
    for size in (112, 160):
        template = (np.array(list(TEMPLATE.values())) + 0.5) * size / 112 - 0.5
        there = transform_points(template[None], faces.aligned_affines(size))[0]
        five = faces.points[0, [KEY_POINTS.index(name) for name in TEMPLATE]]
        assert np.linalg.norm(there - five, axis=1).max() < 0.1 * faces.boxes[0, 2]
        crops = faces.aligned_crops(colours, size)
        assert crops.shape == (1, size, size, 3) and crops.dtype == np.uint8
        assert (crops[..., 2] == 7).all()
        x, y = there[2].round().astype(int)  # the nose tip
        around = colours[y - 3 : y + 4, x - 3 : x + 4, 0]
        nose = crops[0, round(template[2, 1]), round(template[2, 0]), 0]
        assert around.min() <= nose <= around.max()
    nobody = detect(model, np.zeros((50, 40), np.uint8))
    assert len(nobody) == 0 and nobody.boxes.shape == (0, 4) and nobody.affines.shape == (0, 2, 3)
    assert nobody.spread_in_photo.shape == (0, 15)
    assert nobody.aligned_crops(colours, 64).shape == (0, 64, 64, 3)


def test_settings_are_passed_and_decide(model, portrait):
    grey = np.asarray(portrait)
    spread = float(face_spread(detect(model, grey).spread)[0])
    strict = SearchSettings(max_spread=0.9 * spread)
    assert not len(detect(model, grey, settings=strict))
    assert not len(detect(model, grey, settings=SearchSettings(min_check=50.0)))
    assert not len(detect(model, grey, settings=SearchSettings(window_logit=50.0)))
    assert len(detect(model, grey)) == 1  # nothing was changed for others


def test_the_crop_of_smallest_spread_of_several_of_a_face_is_kept():
    affines = np.array([[[1.0, 0, x], [0, 1, 0]] for x in (0, 10, 200, 300)])
    assert suppress(affines, np.array([2.0, 1.0, 9.0, 3.0]), np.full(4, 4.0), 0.5) == [1, 3]


def test_the_checker_is_surest_of_the_face_and_drops_other_things(portrait, upright):
    from sklearn.datasets import load_sample_images

    scene = Image.fromarray(load_sample_images().images[0]).convert("L")
    zoom, corner = 0.3, (430, 40)
    scene.paste(portrait.resize([round(zoom * side) for side in portrait.size]), corner)
    pyramid, networks = search_pyramid(np.asarray(scene)), load_networks()
    candidates = find_candidates(networks.finder, pyramid)
    kept = select_candidates(networks, pyramid, candidates)
    off = kept.centers[0] - (zoom * upright.mean(0) + corner)
    assert np.abs(off).max() < 0.2 * zoom * side_of(upright)
    assert len(kept.centers) < 0.5 * len(candidates.centers)


def test_what_the_finder_is_surer_of_needs_less_of_the_checker(monkeypatch):
    """Four candidates; the second is moved onto a face of which the checker is surest."""
    before, after = np.array([3.0, -1, -1, -9]), np.array([3.5, 8, -1, -1])
    seen = []

    def checked(_, crops):
        seen.append(crops)
        return before if len(seen) == 1 else after[:3]

    def moved(_, crops):
        assert crops.shape[1:] == (72, 72)
        return np.array([[1.0, 0, 0.5, 0, 0]] * len(crops))

    monkeypatch.setattr(proposals, "check", checked)
    monkeypatch.setattr(proposals, "refine", moved)
    settings = SearchSettings(first_check=-2.0, min_check=0.0, unrefined=2.0, refinements=1)
    places = 50.0 + 100 * np.arange(4)[:, None] * [1, 0]
    scores = np.exp([0.0, 0, 0, 1])
    candidates = Candidates(places, np.full(4, 40.0), np.zeros(4), scores)
    pyramid = search_pyramid(np.zeros((100, 500), np.uint8))
    kept = select_candidates(Networks(None, None, None), pyramid, candidates, settings)
    # Refined ones above 0, then those as they were that are above 2; the last is not looked at.
    assert kept.centers[:, 0].tolist() == [170, 70, 50]
    assert [len(crops) for crops in seen] == [4, 3]
    seen.clear()
    one = replace(settings, max_candidates=1)
    monkeypatch.setattr(proposals, "check", lambda _, crops: [4.0, 1, 1, 1][: len(crops)])
    kept = select_candidates(Networks(None, None, None), pyramid, candidates, one)
    assert kept.centers[:, 0].tolist() == [70, 50]


def test_the_checker_sees_candidates_upright_and_counts_their_scores(monkeypatch):
    seen = []
    monkeypatch.setattr(proposals, "check", lambda _, crops: [seen.append(crops), 1.0][1])
    photo = np.zeros((100, 100), np.uint8)
    photo[46:54, 30:70] = 200  # all that is in the middle of the crop, from left to right
    photo = search_pyramid(photo)
    one = Candidates(np.full((1, 2), 50.0), np.full(1, 40.0), np.zeros(1), np.exp([2.0]))
    assert check_candidates(None, photo, one) == [3.0]
    upright = seen[0][0]
    assert upright.shape == (64, 64) and upright[32, 32] == 200 and upright[20, 32] == 0
    check_candidates(None, photo, one._replace(angles=np.full(1, np.pi / 2)))
    np.testing.assert_allclose(seen[1][0], np.rot90(upright), atol=1)


def test_where_a_prediction_is_unclear_a_larger_crop_is_tried_and_one_aligned_by_the_points(
    monkeypatch,
):
    """Five candidates: a face of the candidate's size, one that becomes clear in the larger crop,
    two that only the points lead to, and nothing."""
    world = World(
        monkeypatch,
        {100: 1.0, 1000: [12.0, 2.0], 2000: [12.0, 8.0, 1.5], 3000: [8.0, 12.0, 1.5], 9000: 40.0},
    )
    affines, spread = first_predictions(world, None, world.candidates)
    # By the points of the clearer crop: the larger one, then the first one.
    aligned = SIZE * affine_scales(affines_from_points(world.face[None]))[0]
    assert world.sides[:2] == [[96] * 5, [139] * 3]
    np.testing.assert_allclose(world.sides[2], [1.45 * aligned, aligned], atol=0.5)
    assert spread.tolist() == [1, 12, 12, 8, 40, 2, 8, 12, 1.5, 1.5] and len(affines) == 10


@pytest.mark.parametrize("name, off", [("pretrained", 0.4), ("synthetic", 0.36)])
def test_points_lead_from_a_misplaced_candidate_to_the_face(portrait, name, off):
    """Further off, `synthetic.keras` takes one of these crops for empty."""
    landmarker = load_landmarker(ROOT / "models" / f"{name}_small.tflite")
    photo = np.asarray(portrait)
    face = affines_from_points(detect(landmarker, photo).points)
    center, side = affine_centers(face)[0], SIZE * affine_scales(face)[0]
    pyramid, settings = search_pyramid(photo), settings_of(landmarker.free)
    unclear = 0
    for x, y in [(-off, 0), (off, 0), (0, -off), (0, off)]:
        for angle in (-30, 30):
            place = center + side * np.array([[x, y]])
            misplaced = Candidates(place, np.array([1.25 * side]), np.radians([angle]), np.ones(1))
            affines, spread = predict_candidates(landmarker, pyramid, misplaced, settings)
            unclear += len(spread) == 3 and min(spread[:2]) > settings.max_spread
            best = affines[[spread.argmin()]]
            assert spread.min() < 2.5
            assert np.abs(affine_centers(best)[0] - center).max() < 0.1 * side
            assert abs(affine_scales(best)[0] * SIZE / side - 1) < 0.15
    assert unclear >= 3  # where the first two crops would have lost the face


def test_the_search_stops_at_a_batch_without_a_face(monkeypatch):
    # Nothing, a face; a doubtful one, nothing; nothing twice; a face that is not reached.
    spreads = [40.0, 1.0, 9.9, 40.0, 40.0, 40.0, 1.0]
    world = World(monkeypatch, {1000 * i: spread for i, spread in enumerate(spreads)})
    _, spread = first_predictions(world, None, world.candidates, SearchSettings(batch=2))
    # The doubtful one is tried in two more crops.
    assert spread.tolist() == [40, 1, 9.9, 40, 9.9, 9.9, 40, 40]


def test_candidates_near_a_clear_face_are_not_tried(monkeypatch):
    world = World(monkeypatch, {100: 1.0, 1000: 3.0, 110: 1.0, 1010: 3.0, 2000: 1.0})
    first_predictions(world, None, world.candidates, SearchSettings(batch=2))
    tried = [
        centers for centers, sides in zip(world.centers, world.sides, strict=True) if 96 in sides
    ]
    assert tried == [[100, 1000], [1010, 2000]]


class World:
    """Candidates of 96 pixels in a row, by their x, and a model with a given spread at each, or
    with a list of them: at the first look, the second, the third."""

    mean_face, names = None, KEY_POINTS

    def __init__(self, monkeypatch, spreads):
        self.spreads, self.centers, self.sides = spreads, [], []
        self.looks = dict.fromkeys(spreads, 0)
        x = np.array(list(spreads), float)
        centers = np.stack([x, np.full(len(x), 100.0)], -1)
        self.candidates = Candidates(centers, np.full(len(x), 96.0), 0 * x, 0 * x + 1)
        monkeypatch.setattr(search, "cut_crops", self.cut)
        self.face = synthetic_faces(1, seed=4).key_points[0].astype(float)

    def cut(self, pyramid, affines, size):
        self.centers.append(affine_centers(affines)[:, 0].round().astype(int).tolist())
        self.sides.append((SIZE * affine_scales(affines)).round().astype(int).tolist())
        return np.zeros((len(affines), size, size))

    def predict(self, pictures, mirror):
        assert mirror is False  # it only rejects
        spread = []
        for center in self.centers[-1]:
            x = min(self.spreads, key=lambda x: abs(x - center))
            here = self.spreads[x]
            spread.append(here[self.looks[x]] if isinstance(here, list) else here)
            self.looks[x] += 1
        count = len(spread)
        return np.repeat(self.face[None], count, 0), np.repeat(np.array(spread)[:, None], 15, 1)


def seen_from_the_side(yaw, points="15", count=12):
    """The points (N, K, 2) of rendered heads turned to one side and the other, in pixels."""
    found = []
    for i in range(count):
        who, does, jitter = np.random.default_rng((901, i)).spawn(3)
        head = draw_head(who, does)
        kaggle, asked = (find_points(read_places(p), *head) for p in ("15", points))
        pose = Pose(np.radians(yaw if i % 2 else -yaw), 0.0, 0.0, (0.0, 0.0, 0.0))
        camera = Camera(pose, kaggle, jitter)
        found.append(camera.pixels(camera.turn(asked)))
    return np.array(found)


@pytest.mark.parametrize("points", ["15", "68"])
@pytest.mark.parametrize("yaw", [0, 60, 75, 85])
def test_crops_of_profiles_are_upright_and_as_large_as_others(yaw, points):
    mean_face = seen_from_the_side(0, "68").mean(0) if points == "68" else None
    affines = affines_from_points(seen_from_the_side(yaw, points), mean_face)
    assert np.abs(np.degrees(np.arctan2(affines[:, 1, 0], affines[:, 0, 0]))).max() < 20
    scales = affine_scales(affines)
    assert scales.min() > 0.65 and 0.8 < np.median(scales) < 1.1
    # A face turned in the picture turns its crop by as much.
    turn = similarity_transforms(np.full(1, 1.0), np.radians([130.0]), 0, np.zeros((1, 2)))
    turned = affines_from_points(transform_points(seen_from_the_side(yaw, points), turn), mean_face)
    np.testing.assert_allclose(turned[..., :2], turn[..., :2] @ affines[..., :2], atol=1e-4)
