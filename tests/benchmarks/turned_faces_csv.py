"""Rotate the heads of real faces further aside, in 3-D, and write them as CSVs.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/turned_faces_csv.py     # writes data/turned_kaggle.csv and so on

Faces turned by 30 to 60 degrees are rare, and annotators left out the points that the head itself
hides. So a 3-D face is fitted to the labelled points of every training face, the picture is mapped
onto the synthetic faces' mean head, and the head is rotated: the key points move with it, hidden
ones are taken from the fitted face. This is the "face profiling" of Zhu et
al. 2016, https://arxiv.org/abs/1511.07212, with a 3-D face that comes from data/synthetic/head.py.

Faces that a training on the three files with default settings holds out are not used.
"""

import csv
import sys
from pathlib import Path

import common
import numpy as np
import wild_faces_csv

from data.key_points import COLUMNS, PARTNERS, SIZE
from data.synthetic.head import ROWS, HeadSurface
from data.synthetic.person import Person
from data.system.command_line import natural, run_script
from data.system.files import HERE, replace_file

SOURCES = ("kaggle", *wild_faces_csv.SOURCES)

# --- the 3-D face --------------------------------------------------------------------------------


def shape_model(people=1000, modes=12, seed=0):
    """Mean and modes of the synthetic heads in 3-D; lengths in eye distances, z towards the viewer.

    Returns:
        mean (15, 3) and modes (12, 15, 3) of the key points, a mode's coefficients having the
        standard deviation 1; and the mean head's surface, (M, 3).
    """
    rng = np.random.default_rng(seed)
    points, surface = [], 0
    for _ in range(people):
        person = Person(rng)
        head = HeadSurface(person)
        points.append(head.key_points(person))
        rows = np.broadcast_to(ROWS[:, None], head.x.shape)
        surface = surface + np.stack([head.x, rows, head.z], -1) / people
    points = np.array(points, np.float64)
    mean = points.mean(0)
    mean = (mean + mean[PARTNERS] * [-1, 1, 1]) / 2
    _, size, directions = np.linalg.svd((points - mean).reshape(people, -1), full_matrices=False)
    directions = directions[:modes] * size[:modes, None] / np.sqrt(people)
    return mean, directions.reshape(modes, -1, 3), surface.reshape(-1, 3)


def rotations(pose):
    """Rotation matrices (N, 3, 3) of rotation vectors (N, >= 3)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(pose[:, :3]).as_matrix()


def yaw_of(pose):
    """How far the heads are turned about the vertical, degrees, (N,)."""
    matrix = rotations(pose)
    return np.degrees(np.arctan2(matrix[:, 0, 2], matrix[:, 2, 2]))


def project(pose, mean, modes):
    """The points of the fitted faces, (N, 15, 2) pixels.

    A pose is 3 numbers of a rotation vector, log scale, the shift x, y, and the modes'
    coefficients: a scaled orthographic camera.
    """
    shape = mean + np.tensordot(pose[:, 6:], modes, 1)
    plane = shape @ rotations(pose)[:, :2].transpose(0, 2, 1)
    return np.exp(pose[:, 3])[:, None, None] * plane + pose[:, None, 4:6]


def fit(key_points, mean, modes, steps=25, noise_px=1.2):
    """Poses and shapes (N, 18) that explain key points (N, 15, 2), NaN where not labelled.

    Levenberg-Marquardt for all faces at once; the shape's coefficients and the rotation are held
    near zero as far as the points allow, so that a few points suffice.
    """
    marked = np.isfinite(key_points)
    target = np.nan_to_num(key_points)
    pose = np.zeros((len(key_points), 6 + len(modes)))
    pose[:, 3] = np.log(38)
    pose[:, 4:6] = np.nanmean(key_points, 1) - 38 * mean[:, :2].mean(0)
    spread = np.concatenate([[0.6, 1.0, 0.6], np.ones(len(modes))])

    def residuals(pose):
        errors = (project(pose, mean, modes) - target) * marked / noise_px
        prior = np.delete(pose, (3, 4, 5), axis=1) / spread
        return np.concatenate([errors.reshape(len(pose), -1), prior], 1)

    now = residuals(pose)
    cost, damping = (now**2).sum(1), np.full(len(pose), 1e-2)
    for _ in range(steps):
        jacobian = np.empty((*now.shape, pose.shape[1]))
        for j in range(pose.shape[1]):
            nearby = pose.copy()
            nearby[:, j] += 1e-4
            jacobian[:, :, j] = (residuals(nearby) - now) / 1e-4
        square = jacobian.transpose(0, 2, 1) @ jacobian
        slope = jacobian.transpose(0, 2, 1) @ now[..., None]
        weight = damping[:, None] * np.diagonal(square, axis1=1, axis2=2) + 1e-9
        step = np.linalg.solve(square + weight[:, None] * np.eye(pose.shape[1]), slope)[..., 0]
        moved = residuals(pose - step)
        better = (moved**2).sum(1) < cost
        pose[better] -= step[better]
        now[better] = moved[better]
        cost = (now**2).sum(1)
        damping = np.clip(np.where(better, damping * 0.3, damping * 5), 1e-6, 1e3)
    return pose


def adapt_mean(key_points, mean, modes, rounds=4, some=1500, seed=0):
    """The mean face by this file's convention of labelling, (15, 3), mirror-symmetric.

    In turn: fit poses, then move each point and its mirror partner to where, in 3-D, the fits
    leave the smallest error; points that the file never labels stay.
    """
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        chosen = key_points[rng.permutation(len(key_points))[:some]]
        pose = fit(chosen, mean, modes, steps=15)
        errors = chosen - project(pose, mean, modes)
        camera = rotations(pose)[:, :2] * np.exp(pose[:, 3])[:, None, None]
        new = mean.copy()
        for point, partner in enumerate(PARTNERS):
            left, right = [], []
            for which, side in ((point, 1), (partner, -1)):
                marked = np.isfinite(errors[:, which, 0])
                far = (errors[marked, which] ** 2).sum(1, keepdims=True)
                weight = 1 / np.sqrt(1 + far / 9)  # a robust mean: wrong labels count less
                left.append((camera[marked] * [side, 1, 1] * weight[..., None]).reshape(-1, 3))
                right.append((errors[marked, which] * weight).reshape(-1))
            left, right = np.concatenate(left), np.concatenate(right)
            if len(left):
                new[point] += np.linalg.lstsq(left, right, rcond=None)[0]
        mean = new
    return mean


# --- turning -------------------------------------------------------------------------------------


def turn(picture, shape, matrix, scale, shift, new_matrix, surface):
    """The picture of a head that is rotated from one pose to another.

    Args:
        picture: uint8 (96, 96).
        shape: (15, 3) the face's points in its own frame.
        matrix, new_matrix: (3, 3) rotations, before and after.
        scale, shift: pixels per eye distance, and where the frame's origin lies, (2,) pixels.
        surface: (M, 3) the head.

    Returns:
        uint8 (96, 96) and the points in it, (15, 2) pixels.
    """
    from scipy import ndimage

    points = scale * shape @ new_matrix[:2].T
    offset = (scale * shape @ matrix[:2].T + shift).mean(0) - points.mean(0)  # centred as before
    before = scale * surface @ matrix[:2].T + shift
    after = scale * surface @ new_matrix.T
    place = np.rint(after[:, :2] + offset).astype(int)
    inside = np.flatnonzero(((place >= 0) & (place < SIZE)).all(1))
    order = inside[np.argsort(after[inside, 2])]  # the nearest are painted last
    x, y = place[order].T
    move = np.full((2, SIZE, SIZE), np.nan)
    move[:, y, x] = (before[order] - after[order, :2] - offset).T
    # Gaps, and the background, move as the nearest part of the head does.
    nearest = ndimage.distance_transform_edt(
        np.isnan(move[0]), return_distances=False, return_indices=True
    )
    move = move[:, nearest[0], nearest[1]]
    move = ndimage.uniform_filter(move, (0, 3, 3), mode="nearest")
    rows, columns = np.mgrid[:SIZE, :SIZE]
    turned = ndimage.map_coordinates(
        picture.astype(np.float32), (rows + move[1], columns + move[0]), order=1, mode="nearest"
    )
    return np.clip(np.rint(turned), 0, 255).astype(np.uint8), points + offset


def fitted_surface(shape, mean, surface):
    """The mean head (M, 3) warped so that the mean's points move onto the face's, (15, 3)."""

    def kernel(a, b):
        return np.exp(-((a[:, None, :2] - b[None, :, :2]) ** 2).sum(-1) / (2 * 0.35**2))

    weights = np.linalg.solve(kernel(mean, mean) + 0.1 * np.eye(len(mean)), shape - mean)
    return surface + kernel(surface, mean) @ weights


def turned_faces(faces, count, shape, rng):
    """Rotate `count` of the faces, those already turned first, to a yaw of up to 65 degrees.

    Yields (picture uint8 (96, 96), key points (15, 2), the index of the face).
    """
    mean, modes, surface = shape
    key_points = faces.key_points.astype(np.float64)
    typical = adapt_mean(key_points, mean, modes)
    pose = fit(key_points, typical, modes)
    errors = key_points - project(pose, typical, modes)
    rms = np.sqrt(np.nanmean(errors**2, axis=(1, 2)))
    yaw, scale = yaw_of(pose), np.exp(pose[:, 3])
    print(f"{faces.path}: the 3-D faces fit {len(yaw)} faces to {np.median(rms):.2f} px (median)")
    usable = np.flatnonzero((rms < 2.5) & (np.abs(yaw) < 60))
    order = usable[np.argsort(-np.abs(yaw[usable]) - rng.uniform(0, 15, len(usable)))][:count]
    never = np.isnan(key_points).all(axis=(0, 2))  # what the file never labels is not known here
    for i in order:
        matrix = rotations(pose[i : i + 1])[0]
        # In its own frame, with the residuals of the fit put into the picture's plane.
        left = np.column_stack([np.nan_to_num(errors[i]) / scale[i], np.zeros(len(mean))])
        own = typical + np.tensordot(pose[i, 6:], modes, 1) + left @ matrix
        side = np.sign(yaw[i]) if abs(yaw[i]) > 8 else rng.choice([-1, 1])
        goal = rng.uniform(max(20, abs(yaw[i]) - 10), min(65, abs(yaw[i]) + 40))
        aside, nod = np.radians(side * goal - yaw[i]), np.radians(rng.normal(0, 6))
        (ca, sa), (cn, sn) = ((np.cos(angle), np.sin(angle)) for angle in (aside, nod))
        more = np.array([[1, 0, 0], [0, cn, -sn], [0, sn, cn]])
        more = more @ np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
        bent = fitted_surface(own, mean, surface)
        picture, points = turn(
            faces.pictures[i], own, matrix, scale[i], pose[i, 4:6], more @ matrix, bent
        )
        points[never] = np.nan
        if faces.file[i] == 0:  # Kaggle's rows are complete: what is missing was masked
            points[np.isnan(key_points[i, :, 0])] = np.nan
        yield picture, points, i


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Rotate the heads of training faces in 3-D and write them as CSVs.")
    parser.add_argument("--kaggle", type=Path, default=common.KAGGLE, help="Kaggle's training file")
    parser.add_argument(
        "--wild", type=Path, default=HERE / "data", help="folder of the others, and to write to"
    )
    for name, count in zip(SOURCES, (1600, 4500, 7500), strict=True):
        parser.add_argument(f"--{name}-faces", type=natural, default=count, help="how many")
    parser.add_argument("--seed", type=natural, default=0, help="of the poses")
    return parser.parse_args(argv)


def run(arguments):
    """Fit, rotate and write, a file for each source, since each has its own convention."""
    paths, _, everything, training, _ = wild_faces_csv.split_real_faces(
        arguments.kaggle, arguments.wild
    )
    everything = everything.take(training)
    shape = shape_model()
    rng = np.random.default_rng(arguments.seed)
    counts = (arguments.kaggle_faces, arguments.lfw_faces, arguments.aflw_faces)
    for source, (name, count) in enumerate(zip(SOURCES, counts, strict=True)):
        faces = everything.take(everything.file == source)._replace(path=paths[source])

        def write(path, faces=faces, count=count):
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([*COLUMNS, "identity", "Image"])
                for picture, points, i in turned_faces(faces, count, shape, rng):
                    texts = wild_faces_csv.coordinate_texts(points)
                    grey = " ".join([wild_faces_csv.GREY[value] for value in picture.reshape(-1)])
                    writer.writerow([*texts, faces.identities[i], grey])

        path = arguments.wild / f"turned_{name}.csv"
        replace_file(path, write)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
