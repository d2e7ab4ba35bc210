"""Models by group of people: age, sex, skin tone, and by what a face does and wears.

    python tests/benchmarks/rendered_groups.py --model models/pretrained.keras

Scores models on rendered faces of identities that no training saw, of which everything is known.
Prints a GitHub-markdown table: per group and model the mean error in % of 40 px, as hard_faces.py
measures it, the share of failed faces, and which share of the points lies within its 90 % region;
then the same per part of the face. All models must have the same key points.

Each model's median offset from the exact points is taken off first: `pretrained.keras` learned
other conventions.
"""

import sys
from pathlib import Path

import common
import numpy as np
from hard_faces import FAILED, UNIT_PX

from data.key_points import KEY_POINTS, SIXTY_EIGHT
from data.synthetic.rendered.faces import render_faces
from data.synthetic.rendered.heads import AGE_GROUPS
from data.synthetic.rendered.points import Places
from data.synthetic.rendered.skin import TONES
from data.system.command_line import natural, positive, run_script
from data.system.files import InputError
from models.network import predict
from models.spread import REGION_90
from models.storage import load_landmarker

SEED = 900  # the trainings of pretrain.py use others
TURNS = ("yaw", "pitch", "roll")


def groups(descriptions):
    """Masks (N,) of faces by the name of their group, from N descriptions."""

    def of(value):
        return np.array([value(each) for each in descriptions])

    yaw, pitch, roll = (np.abs(of(lambda d, turn=turn: getattr(d, turn))) for turn in TURNS)
    worn = of(lambda d: d.accessories)
    masks = {"all": np.ones(len(descriptions), bool)}
    for group, (young, old) in AGE_GROUPS.items():
        masks[f"{group}, {young} to {old} years"] = of(lambda d: d.age_group) == group
    for sex in ("female", "male"):
        masks[sex] = of(lambda d: d.sex) == sex
    for tone in range(1, TONES + 1):
        masks[f"skin tone {tone} of {TONES}"] = of(lambda d: d.skin_tone) == tone
    masks["yaw below 20°"] = yaw < 20
    masks["yaw 20° to 45°"] = (yaw >= 20) & (yaw < 45)
    masks["yaw 45° to 85°"] = yaw >= 45
    masks["pitch above 20°"] = pitch > 20
    masks["roll above 15°"] = roll > 15
    masks["mouth open (jaw above 0.5)"] = of(lambda d: d.jaw_open) > 0.5
    masks["eyes shut"] = of(lambda d: d.eyes_shut) > 0.55
    for name, part in (
        ("dark glasses", "dark"),
        ("mask", "mask"),
        ("hand in front of the face", "hand"),
    ):
        masks[name] = np.char.find(worn.astype(str), part) >= 0
    return masks


PARTS = {
    "jaw": "jaw chin",
    "brows": "eyebrow",
    "eyes": "eye_",
    "nose": "nose nostril",
    "lips": "mouth",
}


def parts(names):
    """Masks (K,) of the points on each part of the face, by its name."""
    masks = {}
    for part, words in PARTS.items():
        mask = np.array([any(word in name for word in words.split()) for name in names])
        if mask.any():
            masks[part] = mask
    return masks


def score(model, faces):
    """Errors (N, K) in % of UNIT_PX, and which points lie in their 90 % regions, bool (N, K)."""
    found, spread = predict(model, faces.pictures, mirror=True, names=faces.names)
    found = found - np.median(found - faces.key_points, axis=0)
    far = np.linalg.norm(found - faces.key_points, axis=-1)
    return 100 / UNIT_PX * far, far < REGION_90 * spread


def row_of(group, number, scores, faces, points):
    """The table's row: `faces` and `points` are masks (N,) and (K,)."""
    row = [group, f"{number:,}"]
    for errors, inside in scores:
        errors, inside = errors[faces][:, points], inside[faces][:, points]
        if not errors.size:
            row += ["–", "–"]
            continue
        failed = 100 * np.mean(errors.mean(1) > FAILED)
        row += [f"{errors.mean():.2f} ({failed:.1f})", f"{100 * inside.mean():.1f}"]
    return row


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Score models on rendered faces, by group of people.")
    add = parser.add_argument
    add("--model", nargs="+", type=Path, required=True, metavar="PATH", help=".keras files")
    add("--faces", type=positive(int), default=3000, help="how many to render")
    add("--seed", type=natural, default=SEED, help="of the faces; not one that was trained on")
    return parser.parse_args(argv)


def run(arguments):
    """Render, predict, score, print."""
    models = {path.stem: load_landmarker(path) for path in arguments.model}
    if len(models) < len(arguments.model):
        raise InputError("--model: two files have the same name; rename one.")
    names = next(iter(models.values())).names
    if unknown := [name for name in names if name not in (*KEY_POINTS, *SIXTY_EIGHT)]:
        raise InputError(f"rendered faces have no {unknown[0]}: only the 15 and the 68 points.")
    if any(each.names != names for each in models.values()):
        raise InputError("--model: the models have different key points; score them one by one.")
    faces = render_faces(arguments.faces, arguments.seed, Places(names, {}))
    scores = [score(each.model, faces) for each in models.values()]
    header = ["rendered faces", "number"]
    for name in models:
        header += [name, "in the 90 % region, %"]
    every_face, every_point = np.ones(len(faces.pictures), bool), np.ones(len(names), bool)
    rows = [
        row_of(group, mask.sum(), scores, mask, every_point)
        for group, mask in groups(faces.descriptions).items()
    ]
    print(f"\nMean error in % of {UNIT_PX:.0f} px, in brackets the share above {FAILED:.0f} %.\n")
    print(common.markdown(header, rows))
    rows = [
        row_of(part, mask.sum(), scores, every_face, mask) for part, mask in parts(names).items()
    ]
    print("\n" + common.markdown(["part of the face", "points", *header[2:]], rows))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
