"""A random person: all that is decided about a synthetic face before it is drawn."""

from __future__ import annotations

import numpy as np

from data.synthetic.curves import chance


class Person:
    """Pose, shape and paint of one head, drawn at random.

    Lengths are in eye distances in the head frame (data/synthetic/head.py), angles in radians,
    grey values from 0 (black) to 1 (white). Of pairs, the subject's left (+x) comes first.
    Numbers are plain floats: NumPy's own float64 would turn float32 arrays into float64.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        # The order matters: the same seed must give the same face.
        self._draw_pose(rng)
        self._draw_head(rng)
        self._draw_mouth(rng)
        self._draw_eyes(rng)
        self._draw_brows(rng)
        self._draw_hair(rng)

    def _draw_pose(self, rng: np.random.Generator) -> None:
        """Mostly near frontal, with a tail of strongly turned heads."""
        normal = rng.normal
        self.yaw = float(np.radians(np.clip(normal(0, 20 if chance(rng, 0.15) else 6), -50, 50)))
        self.pitch = float(np.radians(np.clip(normal(0, 9), -28, 28)))
        self.roll = float(np.radians(np.clip(normal(0, 9 if chance(rng, 0.2) else 2.7), -30, 30)))

    def _draw_head(self, rng: np.random.Generator) -> None:
        """Its shape, its nose and its skin."""
        normal, uniform = rng.normal, rng.uniform
        self.width, self.jaw, self.depth = normal(1.09, 0.05), normal(0, 0.06), normal(1.3, 0.1)
        self.nose_y, self.nose_height = normal(0.535, 0.05), normal(0.4, 0.06)
        self.nose_width = normal(1, 0.15)
        self.socket, self.cheek = normal(0.1, 0.035), normal(0.06, 0.03)
        self.brow_ridge = normal(0.025, 0.02)
        self.skin = uniform(0.55, 0.9) if chance(rng, 0.85) else uniform(0.2, 0.5)
        self.old = max(0.0, normal(0, 0.7))  # depth of wrinkles and folds
        self.ala = uniform(0, 0.4)  # darkness of the crease around the wings of the nose
        self.under_lip = uniform(0, 0.3)  # darkness of the shadow below the bottom lip

    def _draw_mouth(self, rng: np.random.Generator) -> None:
        """Closed, smiling, talking or anything; the chin goes down with the jaw."""
        normal, uniform = rng.normal, rng.uniform
        kind = rng.choice(4, p=[0.33, 0.27, 0.25, 0.15])
        smile = [normal(0, 0.15), uniform(0.3, 1.1), normal(0, 0.25), uniform(-0.5, 1)][kind]
        gap = [0.0, max(0.0, uniform(-0.06, 0.25)), uniform(0.03, 0.22), uniform(0, 0.42)][kind]
        self.smile, self.gap = smile, gap  # gap: between the lips' inner edges
        self.mouth_x, self.mouth_y = normal(0, 0.015), normal(1.05, 0.06)
        self.mouth_tilt = normal(0, 0.011)
        width = normal(0.4, 0.035) + 0.11 * max(smile, 0) - 0.18 * gap
        self.mouth_width = float(np.clip(width, 0.27, 0.62))  # of one half
        self.upper_lip = float(np.clip(normal(0.095, 0.025) - 0.03 * smile, 0.02, 0.2))
        self.lower_lip = float(np.clip(normal(0.135, 0.03) - 0.02 * smile, 0.03, 0.25))
        if chance(rng, 0.08):  # pouting
            self.mouth_width, self.upper_lip = 0.75 * self.mouth_width, 1.2 * self.upper_lip
        self.lip_shade, self.cavity = uniform(0.5, 0.97), uniform(0.03, 0.35)
        teeth = chance(rng, 0.4 + 0.5 * (smile > 0.3))
        self.teeth = uniform(0.55, 1.0) * self.skin + 0.3 if teeth else 0.0
        self.teeth_drop, self.lower_teeth = uniform(0.06, 0.16), chance(rng, 0.3)
        self.chin = normal(1.85, 0.08) + 0.6 * gap

    def _draw_eyes(self, rng: np.random.Generator) -> None:
        """Where they are and look, and how far the lids are open; the sides differ a little."""
        normal, uniform = rng.normal, rng.uniform
        self.eyes = (np.array([[0.5, 0.0], [-0.5, 0.0]]) + normal(0, 0.01, (2, 2))).tolist()
        self.eye_half, self.eye_tilt = normal(0.197, 0.022), normal(0, 0.012)
        opening = 1 - (1.15 * uniform(0.4, 1) if chance(rng, 0.12) else 0)  # some squint or blink
        lid_up = np.clip(normal(0.095, 0.022), 0.04, 0.17) * opening - 0.012 * self.smile
        self.lid_up = float(lid_up)
        self.lid_low = float(np.clip(normal(0.06, 0.015), 0.02, 0.11))
        # float64, which rounds otherwise than a plain float: the same seed must give the same face.
        self.gaze = normal(0, 0.045), np.float64(normal(0, 0.022) + 0.05 * self.pitch)
        self.iris = uniform(0.03, 0.35) * uniform(0.5, 1)
        self.iris_radius, self.sclera = normal(0.098, 0.006), uniform(0.35, 0.8)
        self.lash, self.crease, self.bag = uniform(0.1, 0.9), uniform(0, 0.6), uniform(0, 0.25)
        self.eye_shadow, self.highlight = uniform(0.1, 0.5), uniform(0, 0.8)

    def _draw_brows(self, rng: np.random.Generator) -> None:
        """Ends (left and right, inner and outer, x outwards and y), arch and hair."""
        normal, uniform = rng.normal, rng.uniform
        ends = np.array([[0.232, -0.225], [0.87, -0.21]])
        ends = ends + normal(0, [0.04, 0.02], (2, 2)) + normal(0, 0.025, (2, 2, 2))
        self.brows = (ends + [0, normal(0, 0.035)]).tolist()
        self.brow_arch, self.brow_peak = normal(0.045, 0.04), uniform(-0.6, 1.6)
        self.brow_taper = uniform(0.2, 0.75)
        self.brow_thick = float(np.clip(normal(0.055, 0.018), 0.02, 0.11))
        self.brow_dark = float(np.clip(normal(0.65, 0.25), 0.1, 0.97))

    def _draw_hair(self, rng: np.random.Generator) -> None:
        """Hair, ears, beard, hat and glasses."""
        normal, uniform = rng.normal, rng.uniform
        self.hair = uniform(0.02, 0.25) if chance(rng, 0.7) else uniform(0.2, 0.7)
        self.bald, self.long_hair = chance(rng, 0.08), chance(rng, 0.35)
        self.hairline, self.parting = normal(-1.08, 0.14), normal(0, 0.5)
        self.fringe = normal(-0.45, 0.15) if chance(rng, 0.13) else None  # its lower edge, y
        self.hair_side = float(np.radians(uniform(55, 85)))  # azimuth where the side hair begins
        self.sideburn, self.hair_volume = uniform(-0.1, 0.6), uniform(0.02, 0.3)
        self.ears = 0.0 if self.long_hair and chance(rng, 0.7) else uniform(0.08, 0.25)
        self.beard = uniform(0.2, 0.95) if chance(rng, 0.11) else 0.0
        self.moustache = uniform(0.3, 0.95) if chance(rng, 0.13) else 0.0
        self.hanging = uniform(-0.1, 0.1)  # how far the moustache hangs over the top lip
        self.stubble = uniform(0, 0.35) if chance(rng, 0.35) else 0.0
        self.hat = normal(-0.65, 0.12) if chance(rng, 0.06) else None  # its lower edge, y
        self.glasses = int(rng.choice(3, p=[0.69, 0.27, 0.04]))  # none, clear, dark
