"""The search's thresholds and limits, each with the reason for its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchSettings:
    """How faces are searched for in a photo, from its image pyramid to the decision.

    "Spread" is always that of a face: the root mean square of its points' spreads, in pixels of
    the 96x96 crop (`models.spread.face_spread`).
    """

    # --- The image pyramid that the finder scans.
    width: int = 2048  # pixels of the largest one: a face of 1 % of the photo's width has 20
    max_pixels: float = 8e6  # of the largest one, so that a long thin photo takes seconds
    border: int = 12  # pixels of padding: half a face cut by the photo's border is found

    # --- The finder's windows, and candidates made of them.
    early_logit: float = 0.0  # first layers' logit from which the others run; lower gains nothing
    window_logit: float = 0.0  # the finder's logit from which a window counts
    merge_distance: float = 0.35  # in sides of the face: windows nearer to each other than this
    merge_log_size: float = 0.6  # and more alike in log size are one candidate
    min_score: float = 1.0  # of a candidate: the number of its windows, weighted by certainty;
    # the finder is unsure of heads that are upside down
    rotation_margin: float = 0.2  # cosine by which another rotation must look more upright

    # --- The checker and the refiner. A candidate's check: the checker's logit plus its log score.
    first_check: float = -4.0  # from which on a candidate is refined
    max_candidates: int = 200  # that are refined: a huge photo of detail must not take minutes
    refinements: int = 2  # of each; a third gains nothing
    min_check: float = -1.0  # from which on the key point network looks at a crop
    unrefined: float = 1.0  # subtracted from the check of a candidate left where it was
    duplicate: float = 0.2  # sides: candidates nearer than this, 1.5 times it in log size,
    duplicate_angle: float = 0.85  # and with this cosine between their angles are one

    # --- The key point network, on batches of candidates.
    batch: int = 8  # candidates, surest first; the search ends at a batch without a face
    reject_spread: float = 10.0  # of a first prediction: crops without a face are at 40
    clear_spread: float = 2.5  # below: a clear face, near which no candidate is tried any more
    empty_spread: float = 28.0  # from clear to this something is there: more crops are tried,
    enlarge: float = 1.45  # one larger by this factor, since profiles look small to the finder, and
    # where that is unclear too, one aligned by the points: they lie nearer to a misplaced face

    # --- The decision.
    max_spread: float = 5.0  # 99 % of the held-out faces stay below 2.2, occluded ones reach 5
    small_side: float = 50.0  # photo pixels: smaller crops are blurred and deceive more easily,
    max_spread_small: float = 4.0  # so that their limit is lower
    same_face: float = 0.5  # centers nearer than this, in means of both sides, are of one face

    def spread_limit(self, side: float) -> float:
        """The largest spread at which a crop of that side, in photo pixels, shows a face."""
        return self.max_spread_small if side < self.small_side else self.max_spread


DEFAULTS = SearchSettings()

# With the free weights, chosen on the first half of the 41 photos (`photo_search.py --half 1`),
# upright and rotated, and on public-domain pictures without a face. Faces in large crops have
# spreads of up to 2.98 px (a cliff: the next one has 2.67 px), false positives from 3.24 px on; in
# small crops faces have up to 2.55 px, false positives from 3.5 px on.
FREE = SearchSettings(max_spread=3.0, max_spread_small=2.6, empty_spread=30.0)


def settings_of(free: bool) -> SearchSettings:
    """The settings for a model, `Landmarker.free` or not."""
    return FREE if free else DEFAULTS
