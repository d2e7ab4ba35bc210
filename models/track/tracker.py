"""Faces followed from frame to frame: each keeps its number for as long as it is seen.

A frame's crop comes from where the points of the frames before are heading, so that one prediction
does, without a search; the finder looks only at the start, every second, and when a face is lost.
The search that is due every second has a thread of its own: it is begun some frames before.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.images.crops import (
    affine_centers,
    affine_scales,
    affines_from_points,
    cut_crop,
    transform_points,
)
from data.key_points import KEY_POINTS, SIZE, Names
from models.detect.search import DOUBTFUL, NONE, ONE_FACE, find_faces
from models.network import predict
from models.spread import face_spread
from models.track.smoothing import Face, PointFilter

if TYPE_CHECKING:
    import keras

SEARCH_EVERY = 1.0  # seconds: so late a face that comes in is seen at the latest
AHEAD = 8  # frames by which a search is begun before: about as long as one takes
SEARCH_AGAIN = 0.2  # seconds from one search to the next where a face was lost
LOST = 1.3 * DOUBTFUL  # a face followed is given up above this spread: later than one is refused
JUMP = 0.4  # sides of the crop: who is farther from where the face was heading is another
RETURN = 1.5  # sides of the crop: so far from where it was heading a hidden face may come back
HIDDEN = 2.0  # seconds for which a face that is hidden or turned away keeps its number
GAP = 0.3  # seconds: after a longer one a face's motion begins anew
ALIGNED = 0.02  # sides of the crop: one that lies so near to the face shows its look
# Correlations of coarse crops. Of one frame and the next, 0.92 or more were seen, and 0.6 after a
# second; of two people, 0.3 in the middle and below 0.7 for 96 % (300 of Kaggle's faces).
ALIKE = 0.7  # below, another face is in the same place: the scene was cut
KNOWN = 0.6  # above, a face that comes back after a while is the one that was hidden
COARSE, RIM = 4, 12  # pixels of the crop that a coarse one takes each way; what it leaves out

Found = tuple[np.ndarray, np.ndarray]  # points (N, K, 2) and spread (N, K) in pixels of the crop


@dataclass
class Track:
    """One face that is followed."""

    number: int
    filter: PointFilter
    look: np.ndarray  # as from `appearance`
    seen: float  # when it was last seen, seconds
    visible: bool = True

    def heading(self, time: float) -> np.ndarray:
        """Where its points (K, 2) will be at `time`; a hidden face does not go far."""
        return self.filter.predict(min(time, self.seen + GAP))


class Prepared(NamedTuple):
    """A search that was begun ahead."""

    time: float  # of its frame, seconds
    known: set[int]  # the numbers of the faces that it need not find
    found: Future[Found]


class Tracker:
    """Gives each frame's faces, numbered from 1 in the order in which they came."""

    def __init__(
        self,
        find: Callable[[np.ndarray, np.ndarray], Found],
        measure: Callable[[np.ndarray], Found],
        face: np.ndarray | None = None,
        smooth: bool = True,
        names: Names = KEY_POINTS,
    ) -> None:
        """Set up with what looks for faces and what measures them.

        Args:
            find: gives the faces of a grey picture (H, W) uint8, points in its pixels; those at
                crops (N, 2, 3) that it is told of too need not be among them.
            measure: gives the faces of crops (N, 96, 96) float32, points in the crops' pixels.
            face: as from `mean_face_of`.
            smooth: give the smoothed points, not the measured ones.
            names: of the key points.
        """
        self.names = names
        self.find, self.measure, self.face, self.smooth = find, measure, face, smooth
        self.tracks: list[Track] = []
        self.count = 0  # faces numbered so far
        self.searched = -np.inf  # when the finder last looked
        self.missing = False  # whether a face was lost since
        self.thread = ThreadPoolExecutor(1)
        self.prepared: Prepared | None = None

    def prepare(self, grey: np.ndarray, time: float) -> None:
        """Show a frame some frames before its `step`: a search that is due then begins now.

        It is told where the faces that are followed are heading. Should one of them be lost before
        that frame's turn, the search is not used.
        """
        if self.prepared is None and time - self.searched >= SEARCH_EVERY:
            tracks = [track for track in self.tracks if track.visible]
            known = self._crops([track.heading(time) for track in tracks])
            numbers = {track.number for track in tracks}
            self.prepared = Prepared(time, numbers, self.thread.submit(self.find, grey, known))

    def step(self, grey: np.ndarray, time: float) -> list[Face]:
        """The faces in the next frame, grey values (H, W) uint8 at `time` in seconds.

        The faces given for the last `LAG` frames change with it: their points become steadier.
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

    def _follow(self, grey: np.ndarray, time: float) -> list[Face]:
        """Measure every track where it is heading; those that are there are visible."""
        if not self.tracks:
            return []
        heading = np.array([track.heading(time) for track in self.tracks])
        crops = affines_from_points(heading, self.face)
        pictures = np.array([cut_crop(grey, crop) for crop in crops])
        points, spread = self.measure(pictures)
        points = transform_points(points, crops)
        found = affines_from_points(points, self.face)
        jumps = [float(apart(one, other)) for one, other in zip(found, crops, strict=True)]
        doubt = face_spread(spread)
        faces: list[Face] = []
        taken: list[np.ndarray] = []
        for i in np.argsort(jumps):  # who is where it was heading has the first claim to a place
            # What the crop shows, laid anew where it did not lie as the face does.
            picture = pictures[i] if jumps[i] < ALIGNED else cut_crop(grey, found[i])
            track, look = self.tracks[i], appearance(picture)
            track.visible = bool(
                doubt[i] < LOST
                and jumps[i] < JUMP
                and (look * track.look).sum() > ALIKE
                and not any(apart(found[i], crop) < ONE_FACE for crop in taken)
            )
            if track.visible:
                faces.append(self._see(track, points[i], spread[i], look, time))
                taken.append(found[i])
        return faces

    def _crops(self, points: list[np.ndarray]) -> np.ndarray:
        """The crops (N, 2, 3) round faces' points (K, 2), also of none."""
        return affines_from_points(np.array(points), self.face) if points else NONE

    def _search(self, grey: np.ndarray, time: float, faces: list[Face]) -> list[Face]:
        """Look for faces that are not among `faces`: new ones, and hidden ones that are back."""
        crops = self._crops([face.points for face in faces])
        ready, there = self.prepared, {face.number for face in faces}
        if ready is not None and ready.time == time and ready.known <= there:
            found = ready.found.result()
        else:
            found = self.find(grey, crops)
        taken, new = list(crops), []
        for points, spread in zip(*found, strict=True):
            crop = affines_from_points(points[None], self.face)[0]
            if any(apart(crop, other) < ONE_FACE for other in taken):
                continue
            look = appearance(cut_crop(grey, crop))
            track = self._hidden(crop, look, time)
            if track is None:
                self.count += 1
                face = Face(self.count, points, spread)
                start = self._start(face, spread * affine_scales(crop[None]), time)
                self.tracks.append(Track(self.count, start, look, time))
            else:
                face = self._see(track, points, spread, look, time, anew=True)
            new.append(face)
            taken.append(crop)
        return new

    def _hidden(self, crop: np.ndarray, look: np.ndarray, time: float) -> Track | None:
        """The hidden track that looks most like a face found in `crop`, if one does at all."""
        best, most = None, 0.0
        for track in self.tracks:
            heading = affines_from_points(track.heading(time)[None], self.face)[0]
            likeness = float((look * track.look).sum())
            enough = ALIKE if time - track.seen < GAP else KNOWN
            near = apart(crop, heading) < RETURN
            if not track.visible and near and likeness > max(enough, most):
                best, most = track, likeness
        return best

    def _see(
        self,
        track: Track,
        points: np.ndarray,
        spread: np.ndarray,
        look: np.ndarray,
        time: float,
        anew: bool = False,
    ) -> Face:
        """Take a measured face into its track; `anew`: its motion so far does not count."""
        face = Face(track.number, points, spread)
        in_frame = spread * affine_scales(affines_from_points(points[None], self.face))
        if anew or time - track.seen > GAP:
            track.filter = self._start(face, in_frame, time)
        else:
            track.filter.update(self._kept(face), in_frame, time)
        track.look, track.seen, track.visible = look, time, True
        return face

    def _start(self, face: Face, in_frame: np.ndarray, time: float) -> PointFilter:
        """A filter that begins at a face; `in_frame`: its spread in pixels of the frame."""
        return PointFilter(self._kept(face), in_frame, time, self.names)

    def _kept(self, face: Face) -> Face:
        """The face whose points the filter may change: the one given, or a copy."""
        return face if self.smooth else replace(face)


def make_tracker(
    model: keras.Model, names: Names, face: np.ndarray | None, mirror: bool, smooth: bool
) -> Tracker:
    """A tracker that finds and measures faces by a model of the key points `names`.

    `face` as from `mean_face_of`; `mirror` and `smooth` as on the command line.
    """

    def find(grey: np.ndarray, known: np.ndarray) -> Found:
        return find_faces(model, grey, mirror, names, face, known)

    def measure(pictures: np.ndarray) -> Found:
        return predict(model, pictures, mirror, names=names)

    return Tracker(find, measure, face, smooth, names)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """How far the middles of two crops (2, 3) are apart, in mean sides of theirs."""
    crops = np.array([one, other])
    first, second = affine_centers(crops)
    return float(np.abs(first - second).max() / (SIZE * affine_scales(crops).mean()))


def appearance(picture: np.ndarray) -> np.ndarray:
    """The middle of a crop (96, 96) made coarse, of mean 0 and length 1, to correlate with others.

    What a step of a few pixels or another exposure changes, it hardly shows.
    """
    middle = picture[RIM : SIZE - RIM, RIM : SIZE - RIM]
    cells = len(middle) // COARSE
    coarse = middle.reshape(cells, COARSE, cells, COARSE).mean((1, 3))
    coarse = coarse - coarse.mean()
    return coarse / (np.linalg.norm(coarse) + 1e-6)
