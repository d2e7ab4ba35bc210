"""Faces followed from frame to frame: each keeps its number for as long as it is seen.

A frame's crop is predicted from the motion of the points so far, so that one pass of the network
per frame is enough. The detector runs only at the start, every second, and when a face is lost.
The search that is due every second runs in a thread of its own, begun some frames ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data.images.crops import (
    affine_centers,
    affine_scales,
    affines_from_points,
    cut_crop,
    transform_points,
)
from data.key_points import KEY_POINTS, SIZE, Names
from models.detect.search import NO_AFFINES, detect
from models.detect.settings import DEFAULTS, SearchSettings, settings_of
from models.spread import face_spread
from models.storage import Landmarker
from models.track.smoothing import Face, PointFilter

SEARCH_EVERY = 1.0  # seconds: a face that comes in is detected after this long at the latest
AHEAD = 8  # frames by which a search is begun ahead: about as long as one takes
SEARCH_AGAIN = 0.2  # seconds from one search to the next where a face was lost
# Times the search's `max_spread`: a face's spread above which its track is given up, later than a
# new face is rejected.
MAX_TRACKED_SPREAD = 1.3
JUMP = 0.4  # sides of the crop: a face farther from the predicted position is another one
RETURN = 1.5  # sides of the crop: how far from there a hidden face may reappear
HIDDEN = 2.0  # seconds for which a face that is hidden or turned away keeps its number
DAMAGED_SPREAD = 2.0  # times the spread, in a damaged frame: 1 is worse at its edges, 3 lags
GAP = 0.3  # seconds: after a longer one a face's motion begins anew
RECROP = 0.02  # sides of the crop: a crop farther than this from the face is cut again
# Correlations of coarse crops: at least 0.92 from one frame to the next and 0.6 after a second;
# between two people 0.3 on average and below 0.7 for 96 % (300 of Kaggle's faces).
SAME_SCENE = 0.7  # below, another face is in the same position: the scene was cut
SAME_PERSON = 0.6  # above, a face that appears is the one that was hidden for a while
COARSE, RIM = 4, 12  # crop pixels per pixel of a coarse one, each way; pixels left out around it

Found = tuple[np.ndarray, np.ndarray]  # points (N, K, 2) and spread (N, K) in pixels of the crop


@dataclass
class Track:
    """One face that is followed."""

    number: int
    filter: PointFilter
    appearance: np.ndarray  # as from `appearance_of`
    seen: float  # when it was last seen, seconds
    visible: bool = True

    def predict(self, time: float) -> np.ndarray:
        """Its points (K, 2) as predicted for `time`; a hidden face does not move far."""
        return self.filter.predict(min(time, self.seen + GAP))


class Prepared(NamedTuple):
    """A search that was begun ahead."""

    time: float  # of its frame, seconds
    known: set[int]  # the numbers of the tracked faces, which it need not find
    found: Future[Found]


class Tracker:
    """Follows faces through frames; numbers them from 1 in the order in which they came."""

    def __init__(
        self,
        find: Callable[[np.ndarray, np.ndarray], Found],
        measure: Callable[[np.ndarray], Found],
        mean_face: np.ndarray | None = None,
        smooth: bool = True,
        names: Names = KEY_POINTS,
        settings: SearchSettings = DEFAULTS,
    ) -> None:
        """Set up with functions that detect faces and predict their key points.

        Args:
            find: detects the faces of a frame, grey values (H, W) uint8, points in its pixels.
                The second argument are the affines (N, 2, 3) of faces that it need not find.
            measure: predicts in crops (N, 96, 96) float32, points in the crops' pixels.
            mean_face: as in `Landmarker`.
            smooth: return smoothed points, not the predicted ones.
            names: of the key points.
            settings: of the search, whose limit of the spread counts here too.
        """
        self.names, self.mean_face = names, mean_face
        self.max_spread = MAX_TRACKED_SPREAD * settings.max_spread
        self.find, self.measure, self.smooth = find, measure, smooth
        self.tracks: list[Track] = []
        self.count = 0  # faces numbered so far
        self.searched = -np.inf  # time of the last search
        self.missing = False  # whether a face was lost since
        self.thread = ThreadPoolExecutor(1)
        self.prepared: Prepared | None = None

    def prepare(self, grey: np.ndarray, time: float) -> None:
        """Announce a frame some frames before its `step`: a search due at it begins now.

        The search skips the predicted positions of the tracked faces. If one of these is lost
        before that frame, the result is discarded.
        """
        if self.prepared is None and time - self.searched >= SEARCH_EVERY:
            tracks = [track for track in self.tracks if track.visible]
            known = self._affines([track.predict(time) for track in tracks])
            numbers = {track.number for track in tracks}
            self.prepared = Prepared(time, numbers, self.thread.submit(self.find, grey, known))

    def step(self, grey: np.ndarray, time: float) -> list[Face]:
        """The faces in the next frame, grey values (H, W) uint8 at `time` in seconds.

        The faces returned for the last `LAG` frames change with it: their points become smoother.
        """
        # Who was there in the last frame is followed, however long ago that was.
        self.tracks = [t for t in self.tracks if t.visible or time - t.seen <= HIDDEN]
        before = sum(track.visible for track in self.tracks)
        faces = self._follow(grey, time)
        self.missing = self.missing or len(faces) < before
        if time - self.searched >= (SEARCH_AGAIN if self.missing else SEARCH_EVERY):
            self.searched, self.missing = time, False
            faces += self._search(grey, time, faces)
        if self.prepared is not None and self.prepared.time <= time:
            self.prepared = None
        return sorted(faces, key=lambda face: face.number)

    def follow_damaged(self, grey: np.ndarray, time: float) -> None:
        """Track faces through a frame of which a part is wrong: none is lost or new in it."""
        visible = [track for track in self.tracks if track.visible]
        self._follow(grey, time, DAMAGED_SPREAD)
        for track in visible:
            track.visible = True

    def _follow(self, grey: np.ndarray, time: float, doubt: float = 1.0) -> list[Face]:
        """Predict the points of every track in the crop where it should be; update the visible.

        The filters take `doubt` times their spread.
        """
        if not self.tracks:
            return []
        expected = self._affines([track.predict(time) for track in self.tracks])
        crops = np.array([cut_crop(grey, affine) for affine in expected])
        points, spread = self.measure(crops)
        points = transform_points(points, expected)
        found = affines_from_points(points, self.mean_face)
        jumps = [float(distance(one, other)) for one, other in zip(found, expected, strict=True)]
        spreads = face_spread(spread, self.names)
        faces: list[Face] = []
        taken: list[np.ndarray] = []
        for i in np.argsort(jumps):  # where two tracks claim a position, the nearer one gets it
            crop = crops[i] if jumps[i] < RECROP else cut_crop(grey, found[i])
            track, appearance = self.tracks[i], appearance_of(crop)
            track.visible = bool(
                spreads[i] < self.max_spread
                and jumps[i] < JUMP
                and (appearance * track.appearance).sum() > SAME_SCENE
                and not any(same_face(found[i], affine) for affine in taken)
            )
            if track.visible:
                faces.append(self._update(track, points[i], doubt * spread[i], appearance, time))
                taken.append(found[i])
        return faces

    def _affines(self, points: list[np.ndarray]) -> np.ndarray:
        """Affines (N, 2, 3) of the crops around faces' points (K, 2), N may be 0."""
        return affines_from_points(np.array(points), self.mean_face) if points else NO_AFFINES

    def _search(self, grey: np.ndarray, time: float, faces: list[Face]) -> list[Face]:
        """Detect faces that are not among `faces`: new ones, and hidden ones that reappear."""
        known = self._affines([face.points for face in faces])
        ready, there = self.prepared, {face.number for face in faces}
        if ready is not None and ready.time == time and ready.known <= there:
            found = ready.found.result()
        else:
            found = self.find(grey, known)
        taken, new = list(known), []
        for points, spread in zip(*found, strict=True):
            affine = self._affines([points])[0]
            if any(same_face(affine, other) for other in taken):
                continue
            appearance = appearance_of(cut_crop(grey, affine))
            track = self._hidden(affine, appearance, time)
            if track is None:
                self.count += 1
                face = Face(self.count, points, spread)
                start = self._start(face, spread * affine_scales(affine[None]), time)
                self.tracks.append(Track(self.count, start, appearance, time))
            else:
                face = self._update(track, points, spread, appearance, time, restart=True)
            new.append(face)
            taken.append(affine)
        return new

    def _hidden(self, affine: np.ndarray, appearance: np.ndarray, time: float) -> Track | None:
        """The hidden track that a face found in a crop is most similar to, if any is enough."""
        best, most = None, 0.0
        for track in self.tracks:
            expected = self._affines([track.predict(time)])[0]
            similarity = float((appearance * track.appearance).sum())
            enough = SAME_SCENE if time - track.seen < GAP else SAME_PERSON
            near = distance(affine, expected) < RETURN
            if not track.visible and near and similarity > max(enough, most):
                best, most = track, similarity
        return best

    def _update(
        self,
        track: Track,
        points: np.ndarray,
        spread: np.ndarray,
        appearance: np.ndarray,
        time: float,
        restart: bool = False,
    ) -> Face:
        """Add a face's points to its track; `restart`: its motion so far does not count."""
        face = Face(track.number, points, spread)
        in_frame = spread * affine_scales(self._affines([points]))
        if restart or time - track.seen > GAP:
            track.filter = self._start(face, in_frame, time)
        else:
            track.filter.update(self._kept(face), in_frame, time)
        track.appearance, track.seen, track.visible = appearance, time, True
        return face

    def _start(self, face: Face, in_frame: np.ndarray, time: float) -> PointFilter:
        """A filter that begins with a face; `in_frame`: its spread in pixels of the frame."""
        return PointFilter(self._kept(face), in_frame, time, self.names)

    def _kept(self, face: Face) -> Face:
        """The face whose points the filter may change: the given one, or a copy."""
        return face if self.smooth else replace(face)


def make_tracker(landmarker: Landmarker, mirror: bool = True, smooth: bool = True) -> Tracker:
    """A tracker that detects faces and predicts their key points by a model.

    `landmarker` as from `load_landmarker`; `mirror` and `smooth` as on the command line.
    """

    def find(grey: np.ndarray, known: np.ndarray) -> Found:
        faces = detect(landmarker, grey, mirror, known)
        return faces.points, faces.spread

    def measure(crops: np.ndarray) -> Found:
        return landmarker.predict(crops, mirror)

    settings = settings_of(landmarker.free)
    return Tracker(find, measure, landmarker.mean_face, smooth, landmarker.names, settings)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of two crops' centers, by their affines (2, 3), in means of their sides."""
    affines = np.array([one, other])
    first, second = affine_centers(affines)
    return float(np.abs(first - second).max() / (SIZE * affine_scales(affines).mean()))


def same_face(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two crops, by their affines (2, 3), are of the same face."""
    return distance(one, other) < DEFAULTS.same_face


def appearance_of(crop: np.ndarray) -> np.ndarray:
    """The middle of a crop (96, 96) at low resolution, with mean 0 and norm 1: the product of two,
    summed, is their correlation. Shifts by a few pixels and other exposures hardly change it."""
    middle = crop[RIM : SIZE - RIM, RIM : SIZE - RIM]
    cells = len(middle) // COARSE
    coarse = middle.reshape(cells, COARSE, cells, COARSE).mean((1, 3))
    coarse = coarse - coarse.mean()
    return coarse / (np.linalg.norm(coarse) + 1e-6)
