"""models/track/tracker.py: faces keep their numbers, in a world simple enough to know them."""

import numpy as np
import pytest

from data.faces import synthetic_faces
from data.images.crops import affines_from_points, similarity_transforms
from data.key_points import SIZE
from models.detect.settings import DEFAULTS, FREE
from models.track import tracker as tracking
from models.track.tracker import HIDDEN, SEARCH_EVERY, Tracker

WIDTH, HEIGHT, SIDE, RATE = 480, 240, 60, 25
LEVELS = {1: 60, 2: 140, 3: 220}  # the grey values of three people begin here and end 30 later


@pytest.fixture(scope="module")
def people():
    """What the three look like: smooth patterns in ranges of grey values of their own."""
    rng = np.random.default_rng(4)
    place = np.linspace(0, 1, SIZE)
    looks = {}
    for person, level in LEVELS.items():
        a, b, c, d = rng.uniform(-8, 8, 4)
        wave = np.sin(a * place[:, None] + b * place) + np.sin(c * place[:, None] - d * place)
        looks[person] = (level + 15 + 7 * wave).astype(np.uint8)
    return looks


class World:
    """Frames with people, and a finder and a network that know them by their grey values."""

    def __init__(self, people, smooth=True, ahead=0, settings=DEFAULTS):
        self.people, self.searches, self.ahead = people, 0, ahead
        self.shape = synthetic_faces(1, seed=4).key_points[0].astype(float)
        # Points that a crop as trained is laid round: one prediction gives the same crop again.
        crop = affines_from_points(self.shape[None])[0]
        self.shape = (self.shape - crop[:, 2]) @ np.linalg.inv(crop[:, :2]).T
        self.tracker = Tracker(self.find, self.measure, smooth=smooth, settings=settings)

    def frame(self, places):
        """A frame with people, {number: (x, y) of the middle}; later ones hide earlier ones."""
        self.grey = np.zeros((HEIGHT, WIDTH), np.uint8)
        for person, (x, y) in places.items():
            rows = np.clip(np.rint(y - SIDE / 2) + np.arange(SIDE), 0, HEIGHT - 1).astype(int)
            columns = np.clip(np.rint(x - SIDE / 2) + np.arange(SIDE), 0, WIDTH - 1).astype(int)
            cells = (np.arange(SIDE) * SIZE // SIDE).astype(int)
            self.grey[np.ix_(rows, columns)] = self.people[person][np.ix_(cells, cells)]
        return self.grey

    def _where(self, picture, side):
        """Of each person in a picture: the middle, and whether whole; by their grey values."""
        for level in LEVELS.values():
            y, x = np.nonzero((picture >= level - 3) & (picture <= level + 33))
            if len(x) > 0.2 * side**2:
                low = np.percentile(x, 1), np.percentile(y, 1)
                high = np.percentile(x, 99), np.percentile(y, 99)
                whole = min(high[0] - low[0], high[1] - low[1]) > 0.9 * side
                yield (np.array(low) + high) / 2, whole

    def find(self, grey, known):
        self.searches += 1
        assert known.shape[1:] == (2, 3)
        points = [
            (self.shape - (SIZE - 1) / 2) * SIDE / SIZE + middle
            for middle, whole in self._where(grey, SIDE)
            if whole
        ]
        return np.array(points).reshape(-1, 15, 2), np.ones((len(points), 15))

    def measure(self, pictures):
        points, spread = [], []
        for picture in pictures:
            seen = [
                (np.abs(middle - (SIZE - 1) / 2).max(), middle, whole)
                for middle, whole in self._where(picture, SIZE)
            ]
            nowhere = 0, np.full(2, SIZE / 2), False
            _, middle, whole = min(seen, default=nowhere, key=lambda one: one[0])
            points.append(self.shape + middle - (SIZE - 1) / 2)
            spread.append(np.full(15, 1.0 if whole else 20.0))
        return np.array(points), np.array(spread)

    def play(self, motion, seconds, rate=RATE):
        """Step through frames; returns for each {person: number of the face in that place}."""
        count = round(seconds * rate)
        scenes = [motion(i / rate) for i in range(count)]
        frames = [self.frame(places) for places in scenes]
        seen = []
        for i, places in enumerate(scenes):
            # At the start all that will be ahead are shown, from then on one for each step.
            for j in range(i + self.ahead if i else 0, min(i + self.ahead + 1, count)):
                if self.ahead:
                    self.tracker.prepare(frames[j], j / rate)
            faces = self.tracker.step(frames[i], i / rate)
            frame = {}
            for face in faces:
                x, y = face.points.mean(0) - (self.shape.mean(0) - (SIZE - 1) / 2) * SIDE / SIZE
                nearest = min(
                    places, key=lambda p: np.hypot(places[p][0] - x, places[p][1] - y), default=None
                )
                assert nearest is not None
                frame[nearest] = face.number
            assert len(frame) == len(faces)  # no person twice
            seen.append(frame)
        return seen


@pytest.fixture(params=[0, tracking.AHEAD], ids=["at once", "ahead"])
def world(people, request):
    """With searches that are begun at their frame's turn, and ahead: all is to be the same."""
    return World(people, ahead=request.param)


def test_the_finder_looks_at_the_start_and_every_second_only(world):
    seen = world.play(lambda t: {1: (100 + 60 * t, 120)}, 2.5)
    assert all(frame == {1: 1} for frame in seen)
    assert world.searches == 3  # at 0, 1 and 2 seconds


def test_who_comes_in_is_seen_within_a_second_and_gets_the_next_number(world):
    seen = world.play(lambda t: {1: (100, 120)} | ({2: (300, 120)} if t > 0.5 else {}), 2)
    assert all(frame[1] == 1 for frame in seen)
    came = next(i for i, frame in enumerate(seen) if 2 in frame)
    assert came / RATE <= 0.5 + SEARCH_EVERY + 1 / RATE
    assert all(frame == {1: 1, 2: 2} for frame in seen[came:])


def test_a_damaged_frame_neither_loses_a_face_nor_finds_one(world):
    assert world.play(lambda t: {1: (100 + 60 * t, 120)}, 0.8)[-1] == {1: 1}
    searches = world.searches
    for i in range(20, 26):
        world.tracker.follow_damaged(world.frame({2: (300, 120)}), i / RATE)
    (face,) = world.tracker.step(world.frame({1: (162, 120)}), 26 / RATE)
    assert face.number == world.tracker.count == 1 and world.searches <= searches + 1


def test_who_leaves_is_gone_at_once_and_after_a_while_comes_back_as_another(world):
    seen = world.play(lambda t: {} if 1 <= t < 1 + HIDDEN + 1.5 else {1: (200, 120)}, 6)
    assert all(frame == {1: 1} for frame in seen[: RATE - 1])
    assert all(frame == {} for frame in seen[RATE : round((1 + HIDDEN + 1.5) * RATE)])
    assert seen[-1] == {1: 2}


def test_who_is_hidden_for_a_moment_keeps_the_number(world):
    seen = world.play(lambda t: {} if 1 <= t < 1.7 else {1: (200, 120)}, 3)
    assert seen[round(1.3 * RATE)] == {} and seen[-1] == {1: 1}
    assert world.tracker.count == 1


def test_two_that_cross_keep_their_numbers(world):
    seen = world.play(lambda t: {1: (120 + 80 * t, 120), 2: (360 - 80 * t, 124)}, 3)
    assert seen[2] == {1: 1, 2: 2}
    assert seen[round(1.5 * RATE)] == {2: 2}  # in the middle the nearer one hides the other
    assert seen[-1] == {1: 1, 2: 2}
    assert world.tracker.count == 2


def test_a_cut_to_another_face_in_the_same_place_begins_anew(world):
    cut = 1.5  # between two searches
    seen = world.play(lambda t: {1 if t < cut else 3: (200, 120)}, 3)
    before, after = seen[: round(cut * RATE)], seen[round(cut * RATE) :]
    assert all(frame == {1: 1} for frame in before)
    assert all(frame == {3: 2} for frame in after)  # from the very frame of the cut


def test_a_cut_and_back_again_finds_the_first_face_by_its_number(world):
    seen = world.play(lambda t: {3 if 1 <= t < 2 else 1: (200, 120)}, 3)
    assert [seen[i] for i in (0, round(1.5 * RATE), -1)] == [{1: 1}, {3: 2}, {1: 1}]


def test_a_jump_of_the_camera_is_made_good_by_a_search(world):
    seen = world.play(lambda t: {1: (100 if t < 0.5 else 170, 120)}, 1)
    assert all(frame == {1: 1} for frame in seen)
    assert world.searches == 2


def test_who_is_lost_right_after_a_search_is_looked_for_soon(world):
    """Not only at the next search that is due anyway, nearly a second later."""
    seen = world.play(lambda t: {1: (100 if t < 1.1 else 170, 120)}, 1.5)
    assert world.searches == 3
    back = next(i for i, frame in enumerate(seen) if i / RATE >= 1.1 and frame)
    assert back / RATE <= 1.1 + tracking.SEARCH_AGAIN and seen[back] == {1: 1}


@pytest.mark.parametrize("rate", [1 / 3, 1, 4])
def test_few_frames_a_second_lose_nobody(world, rate):
    """Who is gone when a search begins that took them to be followed is searched for anew."""
    seen = world.play(lambda t: {} if 5 <= t * rate < 9 else {1: (200, 120)}, 30 / rate, rate)
    assert all(frame == {1: 1} for frame in seen[:5]) and not any(seen[5:9])
    assert all(seen[9:] if rate <= 1 else seen[9 + round(rate * tracking.SEARCH_EVERY) :])


def test_a_search_that_is_due_begins_ahead_and_is_told_where_the_faces_will_be(people):
    world = World(people)
    tracker, told = world.tracker, []
    find = world.find

    def note(grey, known):
        told.append((grey, known))
        return find(grey, known)

    tracker.find = note
    for i in range(2 * RATE):
        frame = world.frame({1: (100 + 4 * i, 120)})
        if i == RATE - 8:  # not due yet: nothing begins
            tracker.prepare(frame, i / RATE)
            assert tracker.prepared is None
        if i == RATE - 4:
            due = world.frame({1: (100 + 4 * RATE, 120)})
            tracker.prepare(due, 1.0)
            tracker.prepare(due, 1.0 + 1 / RATE)  # one at a time
            tracker.prepared.found.result()
            assert len(told) == 2 and told[1][0] is due  # the first one at the start
            ((across, _),) = tracking.affine_centers(told[1][1])
            assert across == pytest.approx(100 + 4 * RATE, abs=6)  # it is at 184 now
        tracker.step(frame, i / RATE)
    assert len(told) == 2


@pytest.mark.parametrize("smooth", [True, False])
def test_later_frames_change_the_points_only_if_they_are_smoothed(people, smooth):
    world, rng = World(people, smooth), np.random.default_rng(0)
    measure = world.measure

    def noisy(pictures):
        points, spread = measure(pictures)
        return points + rng.normal(0, 0.5, points.shape), spread

    world.tracker.measure = noisy
    frames = [world.tracker.step(world.frame({1: (200, 120)}), i / RATE) for i in range(9)]
    before = np.array([frame[0].points.copy() for frame in frames])
    world.tracker.step(world.frame({1: (200, 120)}), 9 / RATE)
    changed = np.abs(np.array([frame[0].points for frame in frames]) - before).max((1, 2))
    assert (changed[1:] > 0).all() if smooth else not changed.any()


@pytest.mark.parametrize("settings", [DEFAULTS, FREE], ids=["research", "free"])
def test_a_track_is_given_up_above_the_limit_of_its_models_search(people, settings):
    between = tracking.MAX_TRACKED_SPREAD * (FREE.max_spread + DEFAULTS.max_spread) / 2
    world = World(people, settings=settings)
    measure = world.tracker.measure
    frame = world.frame({1: (100, 120)})
    assert len(world.tracker.step(frame, 0)) == 1
    world.tracker.measure = lambda crops: (measure(crops)[0], np.full((len(crops), 15), between))
    assert len(world.tracker.step(frame, 0.04)) == (settings is DEFAULTS)


def test_distance_is_in_sides_of_the_crop():
    crops = similarity_transforms(
        np.ones(2), np.zeros(2), (SIZE - 1) / 2, np.array([[0, 0], [48.0, 10.0]])
    )
    assert tracking.distance(*crops) == pytest.approx(0.5)


def test_appearance_is_the_same_in_another_light():
    picture = synthetic_faces(2, seed=9).pictures.astype(np.float32)
    look = tracking.appearance_of(picture[0])
    assert (look * tracking.appearance_of(0.5 * picture[0] + 40)).sum() > 0.999
    assert (look * tracking.appearance_of(picture[1])).sum() < 0.7
    assert np.isfinite(tracking.appearance_of(np.full((SIZE, SIZE), 7.0))).all()
