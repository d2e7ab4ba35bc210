"""models/export/runtimes.py: an exported model predicts without TensorFlow and Keras."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, smallest_network, write_csv
from killing import end, fork

import face_key_points as fkp
import model_builder as mb
from data.key_points import COLUMNS, KEY_POINTS
from data.system.files import InputError, record_path
from models import storage
from models.export.export import to_litert, to_onnx
from models.export.runtimes import RUNTIMES, open_exported
from models.network import predict
from models.storage import load_model, save_record

MAKE = {".tflite": to_litert, ".onnx": to_onnx}


@pytest.fixture(scope="module")
def keras_model():
    return smallest_network(bias="random_normal")


@pytest.fixture(scope="module", params=list(RUNTIMES))
def exported(request, keras_model, tmp_path_factory):
    """An exported model with its record; skips where the packages for it are missing."""
    pytest.importorskip(RUNTIMES[request.param][0])
    if request.param == ".onnx":
        pytest.importorskip("tf2onnx")
    path = tmp_path_factory.mktemp("exported") / f"tiny{request.param}"
    path.write_bytes(MAKE[request.param](keras_model))
    save_record(path, keras_model, {"exported_from": "pretrained.keras", "data": [{"path": "x",
        "sha256": "0", "synthetic_faces": None}], "complete_only": False})  # fmt: skip
    return path


def test_predicts_as_keras_does(exported, keras_model, faces):
    model, record = load_model(exported)
    assert tuple(record["key_points"]) == KEY_POINTS
    for some in (faces.pictures[:1], faces.pictures[:37]):
        for own, keras in zip(
            predict(model, some, True), predict(keras_model, some, True), strict=True
        ):
            np.testing.assert_allclose(own, keras, rtol=0, atol=1e-3)


def without_tensorflow(*arguments):
    """Run face_key_points.py where neither TensorFlow nor Keras can be imported."""
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'jax', 'torch'): sys.modules[name] = None\n"
        "import face_key_points; face_key_points.SYNTHETIC_TEST = 20\n"  # drawn in a tenth the time
        "sys.exit(face_key_points.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_test_faces_are_pictured_without_tensorflow(exported, test_csv, tmp_path):
    done = without_tensorflow("--model", exported, "--data", test_csv, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "TensorFlow" not in done.stdout
    assert "shipped model's training faces are not here" in done.stdout
    table = pd.read_csv(tmp_path / "test_key_points.csv")
    assert len(table) == 40 and list(table.columns[1:31]) == list(COLUMNS)
    assert (tmp_path / "worst16_in_validation.png").stat().st_size > 10_000


def test_kaggles_table_is_answered_without_tensorflow(exported, faces, tmp_path):
    data = write_csv(tmp_path / "test.csv", faces.pictures[:3], ImageId=[1, 2, 3])
    asked = {"RowId": [1, 2], "ImageId": [1, 3], "FeatureName": [COLUMNS[0], COLUMNS[7]]}
    pd.DataFrame(asked).to_csv(tmp_path / "table.csv", index=False)
    table = "--submission", tmp_path / "table.csv", "--results", tmp_path / "r"
    done = without_tensorflow("--model", exported, "--data", data, *table)
    assert done.returncode == 0, done.stderr
    expected = predict(load_model(exported)[0], faces.pictures[:3], True)[0].reshape(3, 30)
    answers = pd.read_csv(tmp_path / "r" / "submission.csv")["Location"]
    expected = np.clip([expected[0, 0], expected[2, 7]], 0, 96)
    np.testing.assert_allclose(answers, expected, atol=1e-3)


def test_a_photo_is_annotated_without_tensorflow(exported, faces, tmp_path):
    from PIL import Image

    Image.fromarray(faces.pictures[0]).resize((300, 300)).save(tmp_path / "photo.png")
    flags = "--image", tmp_path / "photo.png", "--box", 0, 0, 300, 300, "--results", tmp_path / "r"
    done = without_tensorflow("--model", exported, *flags)
    if "cv2" in done.stderr or "opencv" in done.stderr:
        pytest.skip("photos need a package that is not here")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "photo_key_points.png").exists()
    assert len(pd.read_csv(tmp_path / "r" / "key_points.csv")) == 1


def test_a_forked_process_predicts_after_its_parent_did(exported, faces):
    """As workers do that multiprocessing forks: they have none of their parent's threads."""
    model, _ = load_model(exported)
    expected = predict(model, faces.pictures[:9])

    def work(forks=1):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # a hang ends here
        for own, parents in zip(predict(model, faces.pictures[:9]), expected, strict=True):
            np.testing.assert_array_equal(own, parents)
        return end(fork(partial(work, forks - 1))) if forks else 0

    assert end(fork(work)) == 0


def test_another_process_can_be_given_the_model(exported, faces, tmp_path):
    """As multiprocessing does when it spawns workers; the file itself may be gone by then."""
    model, _ = load_model(exported)
    given = pickle.dumps((model, faces.pictures[:9]))
    code = (
        "import pickle, sys, numpy as np; from models.network import predict\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "key_points, spread = predict(*pickle.load(sys.stdin.buffer))\n"
        "np.savez(sys.argv[1], key_points=key_points, spread=spread)"
    )
    command = [sys.executable, "-c", code, tmp_path / "found.npz"]
    subprocess.run(command, cwd=ROOT, input=given, check=True, timeout=60)
    key_points, spread = predict(model, faces.pictures[:9])
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["key_points"], key_points)
        np.testing.assert_array_equal(found["spread"], spread)


def test_names_come_from_the_json_beside_the_export(exported, tmp_path):
    path = tmp_path / exported.name
    shutil.copy(exported, path)
    shutil.copy(record_path(exported), record_path(path))
    assert record_path(path).name == f"{exported.name}.json"
    record = json.loads(record_path(path).read_text())
    names = [f"p{k}" for k in range(15)]
    record_path(path).write_text(json.dumps(record | {"key_points": names}))
    assert load_model(path)[1]["key_points"] == names
    record_path(path).write_text(json.dumps(record | {"key_points": names[1:]}))
    with pytest.raises(InputError, match=r"\.json is not the JSON"):
        load_model(path)
    # Another export's record, as a kill between the two files leaves it, is not taken for its own.
    record_path(path).write_text(json.dumps(record | {"key_points": names, "file_sha256": "0"}))
    model, found = load_model(path)
    assert found == {} and storage.names_of(model, found) == KEY_POINTS
    record_path(path).unlink()
    assert load_model(path)[1] == {}


@pytest.mark.parametrize("ending", RUNTIMES)
def test_a_broken_export_is_one_sentence(ending, test_csv, tmp_path, capsys):
    pytest.importorskip(RUNTIMES[ending][0])
    path = tmp_path / f"broken{ending}"
    path.write_bytes(b"not a model")
    flags = "--model", path, "--data", test_csv, "--results", tmp_path / "r"
    assert fkp.main([str(flag) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert f"{path} cannot be loaded (" in error and "\n" not in error.strip()


@pytest.mark.parametrize("ending", RUNTIMES)
def test_a_missing_runtime_says_how_to_install_it(ending, tmp_path, monkeypatch):
    module, package = RUNTIMES[ending]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="pip install") as caught:
        open_exported(tmp_path / f"model{ending}")
    assert f"'{package}'" in str(caught.value)


def test_an_export_is_not_trained_and_not_exported_again(test_csv, tmp_path, capsys):
    (tmp_path / "m.tflite").touch()
    export = str(tmp_path / "m.tflite")
    assert mb.main(["--init", export, "--model", str(tmp_path / "n.keras")]) == 2
    assert "an export cannot be trained" in capsys.readouterr().err
    flags = ["--model", export, "--export", "litert", "--results", str(tmp_path / "r")]
    assert fkp.main([*flags, "--data", str(test_csv)]) == 2
    error = capsys.readouterr().err
    assert "an export already" in error or "pip install" in error
