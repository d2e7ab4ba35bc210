"""Pictures without a face, like a detector's false positives or the contents of a wrong file."""

import numpy as np

from data.augment.views import box_blur
from data.key_points import SIZE
from data.synthetic.curves import interpolation, mix, ramp


def non_faces(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures without a face, float32 (N, 96, 96), partly made from the given ones (N, 96, 96).

    They are shuffled tiles of these pictures, their corners enlarged, the pictures distorted beyond
    recognition, clouds of all roughnesses, discs and bars, stripes, and blanks.
    """
    pictures = np.array(pictures, np.float32)
    kind = rng.choice(7, len(pictures), p=[0.17, 0.17, 0.25, 0.13, 0.06, 0.05, 0.17])
    for i in range(len(pictures)):
        if kind[i] == 0:
            pictures[i] = shuffle_tiles(pictures[i], rng)
        elif kind[i] == 1:
            pictures[i] = enlarge_corner(pictures[i], rng)
        elif kind[i] == 2:
            pictures[i] = distort(pictures[i], rng)
        elif kind[i] == 3:
            pictures[i] = draw_clouds(rng)
        elif kind[i] == 4:
            pictures[i] = draw_stripes(rng, hard=bool(i % 2))
        elif kind[i] == 5:
            pictures[i] = rng.uniform(0, 255)
        else:
            pictures[i] = draw_shapes(rng)
    enlarged = np.flatnonzero(kind == 1)
    if enlarged.size:
        pictures[enlarged] = box_blur(box_blur(pictures[enlarged]))  # no hard blocks
    return np.clip(pictures, 0, 255)


def shuffle_tiles(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture (96, 96) cut into 9 to 64 tiles and shuffled."""
    across = rng.choice([3, 4, 6, 8])
    side = SIZE // across
    tiles = picture.reshape(across, side, across, side).transpose(0, 2, 1, 3)
    tiles = rng.permutation(tiles.reshape(-1, side, side)).reshape(across, across, side, -1)
    return tiles.transpose(0, 2, 1, 3).reshape(SIZE, SIZE)


def enlarge_corner(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A corner of 16 to 32 pixels, enlarged to the size of the picture (96, 96)."""
    side = rng.integers(16, 33)
    places = np.arange(SIZE) * side // SIZE
    corner = picture[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    return corner[places[:, None], places]


def distort(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture (96, 96) bent at random until no face is left: cloth, arms and the like have such
    edges and shades."""
    from scipy.ndimage import map_coordinates

    nodes = int(rng.integers(3, 7))  # across the picture; each is moved, what lies between follows
    moved = rng.normal(0, rng.uniform(15, 30), (2, nodes, nodes))
    weights = interpolation(SIZE, nodes)
    places = np.mgrid[:SIZE, :SIZE] + weights @ moved @ weights.T
    return np.rot90(map_coordinates(picture, places, order=1, mode="mirror"), int(rng.integers(4)))


def draw_clouds(rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls with a power of the frequency (clouds, hills), and a horizon."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)) + 0.5 / SIZE
    noise = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    cloud = np.fft.irfft2(noise / frequency ** rng.uniform(0, 2.2), (SIZE, SIZE))
    picture = (128 + rng.uniform(10, 70) * cloud / cloud.std()).astype(np.float32)
    horizon = np.arange(SIZE, dtype=np.float32)[:, None]
    picture += rng.uniform(-80, 80) * (horizon > rng.uniform(0, SIZE))
    return picture


def draw_stripes(rng: np.random.Generator, hard: bool) -> np.ndarray:
    """Stripes of any direction and width, with sharp edges if `hard`."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 60)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return 128 + rng.uniform(20, 110) * (np.sign(wave) if hard else wave)


def draw_shapes(rng: np.random.Generator) -> np.ndarray:
    """Ellipses and rectangles of many sizes over clouds, some concentric, like badges."""
    picture = draw_clouds(rng)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    centre = rng.uniform(0.25 * SIZE, 0.75 * SIZE, 2)
    for _ in range(rng.integers(2, 12)):
        if rng.random() < 0.5:
            centre = rng.uniform(0, SIZE, 2)
        angle, (a, b) = rng.uniform(0, np.pi), np.exp(rng.uniform(1, 4, 2))
        if rng.random() < 0.5:
            b = a * rng.uniform(0.8, 1.25)  # about round or square
        u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        v = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        disc = rng.random() < 0.65
        far = np.hypot(u / a, v / b) if disc else np.maximum(np.abs(u / a), np.abs(v / b))
        inside = ramp((1 - far) * min(a, b), rng.uniform(1, 6)) * rng.uniform(0.3, 1)
        picture = mix(picture, rng.uniform(0, 255), inside)
    return picture
