"""Faces pasted into pictures without one: training samples of the small networks.

Rendered faces are occluded anew in each round, placed in windows, blended into a background, and
relit, blurred and compressed at random.
"""

import io

import common  # noqa: F401
import numpy as np
import pandas as pd
from face_backgrounds import PATCH, cut_patches

from data.augment.occlusion import occlude
from data.faces import load_faces, with_key_points
from data.images.crops import CENTER, affine_scales, affines_from_points, similarity_transforms
from data.key_points import KEY_POINTS, SIZE
from data.settings import Settings
from data.system.files import InputError
from models.detect.small_networks import CONTEXT, normalize_contrast

HELD_OUT = 0.05  # share of the faces; every one is a different person
PROFILE = 50  # degrees of yaw beyond which the eyes are too close together to define the roll
PROFILE_COPIES = 2  # how often each is included: they are missed most often
# Rendered faces wear glasses, hats and masks already: these are other ones.
OCCLUSIONS = Settings(cut_out=0.15, sunglasses=0.03, hat=0.02, hair=0.03, hand=0.03)
MASKS = 0.2  # share with a mask over mouth and nose
GREYS, GAIN = (15, 235), 4  # the contrast is stretched to this range, at most so many times
PASTED = 0.65  # share pasted into another picture; the others are continued by reflection
CUT = 0.06  # share cut by the photo's border
REACH = (0.85, 1.15)  # where pasted faces end, in halves of their crop
DIM = (0.08, 1.2)  # contrast that is left, log-uniform, in a third of the windows
SMALL, SMALLEST = 0.5, 2.4  # of `augment_crops`: share made coarser, and by how much at most
STRONG = 0.55  # share with `augment_light`; the others vary little
HALF = SIZE // 2  # side of the faces that are pasted: twice as fine as a window


# --- faces ---------------------------------------------------------------------------------------


class Faces:
    """Faces to paste: pictures, key points, affines of the crops, and occlusions of this round."""

    def __init__(self, pictures, points, affines):
        self.pictures, self.points, self.affines = pictures, points, affines
        self.occlude_anew(np.random.default_rng(0))

    def occlude_anew(self, rng):
        """Occlude other faces; what is pasted is half as large as the pictures."""
        occluded = occlude_some(self.pictures, self.points, rng)
        shape = (-1, HALF, 2, HALF, 2)
        self.halves = occluded.reshape(shape).mean((2, 4), np.float32).astype(np.uint8)

    def windows(
        self, placements, backgrounds, rng, patch=PATCH, augment=None, reach=REACH, beside=None
    ):
        """Windows of random faces, placed as `paste` says, and the placements, some mirrored.

        `beside`: from placements (N, 4) and `rng` which of them, indices (M,), have another face
        beside them, and the placements of these (M, 4).
        """
        augment = augment or augment_light
        behind = cut_patches(backgrounds, 6000, rng, patch)
        windows, placed = [], []
        for i in range(0, len(placements), 2048):
            part = placements[i : i + 2048]
            patches = behind[rng.integers(len(behind), size=len(part))]
            if beside:
                some, others = beside(part, rng)
                pasted, _ = self.paste_any(others, patches[some], rng, reach)
                patches[some] = np.clip(np.rint(pasted), 0, 255)
            patches, part = self.paste_any(part, patches, rng, reach)
            windows.append(to_windows(augment(patches, rng)))
            placed.append(part)
        return np.concatenate(windows), np.concatenate(placed)

    def paste_any(self, placements, patches, rng, reach):
        """As `paste`, with random faces."""
        chosen = rng.integers(len(self.pictures), size=len(placements))
        return paste(self.halves, self.affines, chosen, placements, patches, rng, reach)


def load_all(folders):
    """The faces that `python -m data.synthetic.rendered` wrote into the folders: those to train on,
    and those that are held out. Raises InputError if there are none."""
    parts = [load_rendered(folder) for folder in folders]
    pictures, points, affines, aside = (np.concatenate(part) for part in zip(*parts, strict=True))
    held_out = np.random.default_rng(0).random(len(pictures)) < HELD_OUT
    learned = np.repeat(np.arange(len(pictures)), np.where(aside, PROFILE_COPIES, 1) * ~held_out)
    faces, others = (
        Faces(pictures[part], points[part], affines[part]) for part in (learned, held_out)
    )
    print(f"{len(faces.pictures)} faces to train on, {len(others.pictures)} held out", flush=True)
    return faces, others


def load_rendered(folder):
    """Pictures uint8 (N, 96, 96), points (N, 15, 2), affines of the crops (N, 2, 3), and which are
    seen from the side, bool (N,)."""
    faces = with_key_points(load_faces(folder / "training.csv"), KEY_POINTS)
    path = folder / "training_descriptions.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing; render the faces again.")
    described = pd.read_csv(path)
    affines = affines_from_points(faces.key_points)
    # From the side the points lie close together: use a crop halfway (in log scale) to the head's.
    aside = (np.abs(described["yaw"]) > PROFILE).to_numpy()
    affines[aside] = similarity_transforms(
        np.sqrt(affine_scales(affines[aside])),
        np.radians(described["roll"].to_numpy(np.float32)[aside]),
        CENTER,
        faces.key_points[aside].mean(1),
    )
    return stretch(faces.pictures), faces.key_points, affines, aside


def stretch(pictures):
    """The pictures (N, 96, 96) with the contrast of a usual photo; `augment_light` takes some of
    it away again."""
    low, high = np.percentile(pictures[:, 16:88, 16:80], [2, 98], (1, 2)).astype(np.float32)
    black, white = GREYS
    gain = np.clip((white - black) / np.maximum(high - low, 1), 1, GAIN)
    half, middle = gain * (high - low) / 2, (low + high) / 2
    off = np.clip(middle, black + half, white - half) - gain * middle
    return np.clip(np.rint(gain[:, None, None] * pictures + off[:, None, None]), 0, 255).astype(
        np.uint8
    )


def occlude_some(pictures, points, rng):
    """The pictures with some of the faces occluded, some by a mask, uint8."""
    occluded = np.empty_like(pictures)
    for start in range(0, len(pictures), 1024):
        part = pictures[start : start + 1024].astype(np.float32)
        occlude(part, points[start : start + 1024], rng, OCCLUSIONS)
        occluded[start : start + 1024] = np.clip(part, 0, 255)
    for i in np.flatnonzero(rng.random(len(pictures)) < MASKS):
        occluded[i] = put_on_mask(occluded[i], points[i], rng)
    return occluded


def put_on_mask(picture, points, rng):
    """A picture (96, 96) whose face, with these points (15, 2), wears a mask of folded cloth."""
    from PIL import Image, ImageDraw, ImageFilter

    eyes, nose, lip = points[:2], points[10], points[14]
    across, down = eyes[0] - eyes[1], lip - eyes.mean(0)
    top = eyes.mean(0) + down * rng.uniform(0.25, 0.55)
    wide = across * rng.uniform(0.75, 1.0)
    edge = eyes.mean(0) + down * rng.uniform(0.3, 0.6)
    chin = lip + down * rng.uniform(0.15, 0.5)
    shape = [top, edge + wide, lip + 0.8 * wide, chin + 0.35 * across]
    shape += [chin - 0.35 * across, lip - 0.8 * wide, edge - wide]
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in shape], fill=255)
    mask = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.8)), np.float32) / 255
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.abs((x - nose[0]) * across[0] + (y - nose[1]) * across[1]) / (across @ across)
    folds = np.sin(rng.uniform(0.2, 1) * (y + rng.uniform(-0.3, 0.3) * x)) * rng.uniform(0, 12)
    cloth = rng.uniform(0, 255) * (1 - rng.uniform(0, 0.5) * distance) + folds
    return np.clip(picture * (1 - mask) + mask * cloth, 0, 255)


# --- windows -------------------------------------------------------------------------------------


def paste(halves, affines, chosen, placements, patches, rng, reach):
    """Patches (N, P, P) float32 with the faces `chosen` (N,) in them, some mirrored.

    Args:
        halves, affines: of all faces, as in `Faces`.
        placements: (N, 4): rotation in radians, offset x y of the face's centre from the patch's,
            and log scale, both in sides of the window.
        patches: uint8 (N, P, P), the backgrounds; some are replaced by the face's own reflection.
        reach: from where to where pasted faces may end, in halves of their crop.

    Returns:
        The patches, and the placements after mirroring.
    """
    angle, dx, dy, log_scale = placements.T.astype(np.float32)
    patch = patches.shape[1]
    window = patch - 2 * CONTEXT
    side = window * np.exp(log_scale)
    middle = (patch - 1) / 2 + window * np.stack([dx, dy], -1)
    # From a patch's pixels to those of the upright crop, and on to those of the halved picture.
    inward = similarity_transforms(SIZE / side, -angle, 0.0, np.zeros((len(placements), 2)))
    inward = inward[:, :, :2]
    offset = (SIZE - 1) / 2 - np.einsum("nij,nj->ni", inward, middle)
    pasted = cut_faces(halves, affines[chosen], chosen, inward, offset, patch)
    mask = face_mask(inward, offset, patch, rng, reach)
    pasted = patches + mask * (pasted - patches)
    mirrored = rng.random(len(placements)) < 0.5
    pasted[mirrored] = pasted[mirrored, :, ::-1]
    placements = placements.copy()
    placements[mirrored, :2] *= -1
    return pasted.astype(np.float32), placements


def cut_faces(halves, affines, chosen, inward, offset, patch):
    """The faces `chosen` (N,) alone, continued by reflection, float32 (N, patch, patch).

    inward (N, 2, 2) and offset (N, 2) lead from a patch's pixels to those of the upright crop.
    """
    from PIL import Image

    linear = affines[:, :, :2] @ inward
    shift = np.einsum("nij,nj->ni", affines[:, :, :2], offset) + affines[:, :, 2] + 0.5
    linear, shift = linear / 2, shift / 2 + HALF // 2
    shift -= linear.sum(-1) / 2  # Pillow counts from the outer edges of the pixels
    faces = np.empty((len(chosen), patch, patch), np.float32)
    coefficients = np.concatenate([linear, shift[..., None]], -1).reshape(-1, 6).tolist()
    size, affine, smooth = (patch, patch), Image.Transform.AFFINE, Image.Resampling.BILINEAR
    for i, k in enumerate(chosen):
        picture = Image.fromarray(np.pad(halves[k], HALF // 2, "symmetric"))
        faces[i] = np.asarray(picture.transform(size, affine, coefficients[i], smooth))
    return faces


def face_mask(inward, offset, patch, rng, reach):
    """How much of each pixel is the face's, 0 .. 1, (N, patch, patch): soft superellipses about as
    large as the crop; everywhere for those faces that are continued by reflection."""
    y, x = np.mgrid[:patch, :patch].astype(np.float32)
    place = [
        np.abs((m[0] * x + m[1] * y + o) / ((SIZE - 1) / 2) - 1)
        for m, o in zip(
            inward.astype(np.float32).transpose(1, 2, 0)[..., None, None],
            offset.astype(np.float32).T[..., None, None],
            strict=True,
        )
    ]
    one = (len(inward), 1, 1)
    power = rng.choice([2, 3, 4, 8], one).astype(np.float32)
    end, soft = (rng.uniform(*ends, one).astype(np.float32) for ends in (reach, (0.03, 0.25)))
    outwards = (place[0] ** power + place[1] ** power) ** (1 / power)
    own = rng.random(one) > PASTED
    inside = np.maximum(*place) < 1.9
    return np.where(own, inside, np.clip((end - outwards) / soft + 0.5, 0, 1))


def augment_light(patches, rng):
    """Light, contrast, noise, blur, JPEG, the photo's border: uint8 patches (N, P, P)."""
    from PIL import Image, ImageFilter

    count, patch, _ = patches.shape
    one = (count, 1, 1)
    y, x = (np.mgrid[:patch, :patch] / (patch - 1) - 0.5).astype(np.float32)
    patches = np.clip(patches / 255, 0, 1) ** np.exp(rng.normal(0, 0.3, one))
    patches *= 1 + rng.normal(0, 0.3, one) * x + rng.normal(0, 0.3, one) * y
    # As if the whole face were in the shade, before a lamp or in fog.
    contrast = np.exp(rng.uniform(*np.log(DIM), one))
    contrast = np.where(rng.random(one) < 0.35, contrast, rng.uniform(0.6, 1.2, one))
    dark = rng.random(one) * (1 - contrast)
    patches = 255 * np.clip(contrast * patches + np.where(rng.random(one) < 0.6, 0, dark), 0, 1)
    noise = rng.normal(0, 1, patches.shape).astype(np.float32)
    loud = rng.random(one) ** 2 * 9 * contrast**0.8
    patches = np.clip(patches + loud * noise, 0, 255).astype(np.uint8)
    for i in np.flatnonzero(rng.random(count) < 0.45):
        picture = Image.fromarray(patches[i])
        if rng.random() < 0.5:
            picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
        else:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=int(rng.integers(25, 90)))
            picture = Image.open(file)
        patches[i] = np.asarray(picture)
    for i in np.flatnonzero(rng.random(count) < CUT):
        edge = int(rng.integers(CONTEXT, CONTEXT + (patch - 2 * CONTEXT) // 3))
        rotated = np.rot90(patches[i], rng.integers(4))  # shares the patch's memory
        rotated[:edge] = rotated[edge]
    return patches


def coarsen(patches, rng):
    """The patches (N, P, P), float32, some at the resolution of small faces."""
    from PIL import Image

    patches = np.array(patches, np.float32)
    size = patches.shape[1:]
    for i in np.flatnonzero(rng.random(len(patches)) < SMALL):
        side = int(size[0] / np.exp(rng.uniform(0, np.log(SMALLEST))))
        small = Image.fromarray(patches[i]).resize((side, side), Image.Resampling.BOX)
        patches[i] = np.asarray(small.resize(size, Image.Resampling.BILINEAR))
    return patches


def augment_crops(patches, rng):
    """Patches (N, P, P), uint8, in other light and of other sharpness."""
    patches = coarsen(patches, rng)
    strong = rng.random(len(patches)) < STRONG
    varied = np.empty(patches.shape, np.uint8)
    varied[strong] = augment_light(patches[strong], rng)
    weak = patches[~strong]
    one = (len(weak), 1, 1)
    noise = rng.uniform(0, 3, one) * rng.standard_normal(weak.shape, dtype=np.float32)
    weak = weak * np.exp(rng.normal(0, 0.2, one)) + rng.normal(0, 10, one) + noise
    varied[~strong] = np.clip(np.rint(weak), 0, 255)
    return varied


def to_windows(patches):
    """The windows in the middle of patches (N, P, P), contrast normalized, float16."""
    windows = []
    for i in range(0, len(patches), 4096):
        normalized = normalize_contrast(patches[i : i + 4096])
        windows.append(normalized[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT].astype(np.float16))
    return np.concatenate(windows)
