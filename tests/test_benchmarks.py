"""The benchmark scripts' own arithmetic, on made-up faces."""

import io
import sys

import numpy as np
import pytest
from conftest import ROOT, write_csv
from PIL import Image

import model_builder as mb

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import plain_cnn  # noqa: E402
import streaming  # noqa: E402
import synthetic_transfer  # noqa: E402
import wild_faces_csv  # noqa: E402


def test_archive_of_jpegs_becomes_two_csvs(faces, tmp_path):
    jpegs = []
    for picture in faces.pictures[:6]:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
        jpegs.append(buffer.getvalue())
    np.savez(
        tmp_path / "faces.npz",
        jpeg=np.frombuffer(b"".join(jpegs), np.uint8),
        offset=np.cumsum([0, *map(len, jpegs)]),
        key_points=faces.key_points[:6],
        identity=np.array(["ann", "bob", "ann", "cy", "di", "bob"]),
        source=np.array(["lfw", "aflw"] * 3),
    )
    arguments = [str(tmp_path / "faces.npz"), "--out", str(tmp_path)]
    assert mb.main(arguments, wild_faces_csv.parse_arguments, wild_faces_csv.run) == 0
    lfw = mb.load_training(tmp_path / "lfw.csv")
    np.testing.assert_allclose(lfw.key_points, faces.key_points[0:6:2], atol=1e-3)
    assert lfw.identities.tolist() == ["ann", "ann", "di"]
    expected = np.array(Image.open(io.BytesIO(jpegs[2])))
    np.testing.assert_array_equal(lfw.pictures[1], expected)
    assert len(mb.load_training(tmp_path / "aflw.csv").rows) == 3


def test_transfer_takes_the_median_offset_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (5001, 15, 2))
    shifted = noise + rng.normal(0, 5, (1, 15, 2))
    assert synthetic_transfer.without_offset(shifted) == pytest.approx(1, abs=0.02)


def test_plain_cnn_is_scored_like_ours(faces, tmp_path, capsys):
    data = write_csv(tmp_path / "faces.csv", faces.pictures, faces.key_points)
    path = tmp_path / "plain.keras"
    arguments = ["--data", str(data), "--model", str(path), "--epochs", "2"]
    assert mb.main(arguments, plain_cnn.parse_arguments, plain_cnn.run) == 0
    printed = float(capsys.readouterr().out.split("validation RMSE ")[1].split()[0])
    model, _ = mb.load_model(path)
    _, rows = mb.split_faces(mb.join_faces([mb.load_training(data)]))
    error = mb.rmse(mb.predict(model, faces.pictures[rows]), faces.key_points[rows])
    assert printed == pytest.approx(error, abs=0.01)


def test_streaming_writes_test_files(tmp_path):
    streaming.write_test_file(tmp_path / "test.csv", 60)
    faces = mb.load_faces(tmp_path / "test.csv")
    assert faces.image_ids.tolist() == [str(i) for i in range(1, 61)] and faces.key_points is None
    np.testing.assert_array_equal(faces.pictures[:10], faces.pictures[50:])
