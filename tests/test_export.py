"""models/export/export.py: the exported files say what Keras says."""

import ast
import re
import sys
import textwrap
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, smallest_network, unwatched

import face_key_points as fkp
from data.key_points import rmse
from models import network
from models.export import export
from models.export.export import EXTRAS, run_litert, run_onnx, to_onnx
from models.storage import Landmarker, load_model, save_model


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def extras():
    """Skips where the packages that the exports need are missing."""
    for packages in EXTRAS.values():
        for name in packages:
            pytest.importorskip(name, reason=f"exports need {name}, which is an extra")


@pytest.fixture(scope="module")
def exported(extras, trained, test_csv, tmp_path_factory):
    """The folder with both exports of a model of the real shape, under the shipped one's name."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "models").mkdir()
    model = folder / "models" / "pretrained.keras"
    model.write_bytes((trained / "models" / "small.keras").read_bytes())
    flags = "--model", model, "--data", test_csv, "--results", folder / "results"
    with pytest.MonkeyPatch.context() as patch, unwatched():  # converters in plain Python
        patch.setattr(export, "TIMED", 2)
        for kind in EXTRAS:
            assert run("--export", kind, *flags) == 0
    return folder


@pytest.fixture(scope="module")
def expected(trained, faces):
    """What Keras finds on the synthetic faces."""
    return network.predict(load_model(trained / "models" / "small.keras")[0], faces.pictures)


OPEN = {".tflite": run_litert, ".onnx": run_onnx}


@pytest.mark.parametrize(
    "name, allowed",
    [("pretrained.tflite", 0.01), ("pretrained.onnx", 0.01), ("pretrained_small.tflite", None)],
)
def test_exports_say_what_keras_says(name, allowed, extras, exported, expected, faces):
    path = exported / "results" / name
    assert path.stat().st_size < (2_000_000 if "small" in name else 8_000_000)
    predict = OPEN[path.suffix](path)
    for count in (1, 120, 7):  # the batch is free
        found = predict(faces.pictures[:count, ..., None].astype(np.float32))
        assert found.keys() == {"key_points", "spread"}
        key_points = found["key_points"].reshape(-1, 15, 2)
        for own, keras in ((key_points, expected[0]), (found["spread"], expected[1])):
            if allowed:
                np.testing.assert_allclose(own, keras[:count], rtol=0, atol=allowed)
            else:  # 8-bit weights of a network that has hardly learned: in some faces, points jump
                assert rmse(own, keras[:count]) < (1 if count == 120 else 2)
    # Small, but not the same: the comparison above would see a difference.
    assert ("small" in name) == (np.abs(key_points - expected[0][:count]).max() > 1e-3)


def five_points():
    """The real heads of 5 points on a body of two layers: converting the real body takes longer."""
    from keras import layers

    def encode(picture, dtype):
        grid = layers.Conv2D(8, 8, strides=8, activation="relu")(picture)
        return grid, layers.Conv2D(8, 2, strides=2, activation="relu")(grid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "encode", encode)
        return network.build_model(count=5)


@pytest.fixture(scope="module")
def exported_five(extras, test_csv, tmp_path_factory):
    """The folder with the exports of a model of 5 points."""
    folder = tmp_path_factory.mktemp("exported_five")
    model, names = five_points(), ["eye_left", "eye_right", "nose", "mouth_left", "mouth_right"]
    save_model(model, folder / "five.keras", {"key_points": names})
    flags = "--model", folder / "five.keras", "--data", test_csv, "--results", folder
    with pytest.MonkeyPatch.context() as patch, unwatched():
        patch.setattr(export, "TIMED", 2)
        for kind in EXTRAS:
            assert run("--export", kind, *flags) == 0
    return folder


@pytest.mark.parametrize("ending", [".tflite", "_small.tflite", ".onnx"])
@pytest.mark.parametrize("count", [15, 5])
def test_exports_of_the_network_are_accepted_by_the_model_flag(
    count, ending, exported, exported_five, loaded_once, test_csv, sketched, tmp_path
):
    keras_file = exported / "models" / "pretrained.keras"
    path = exported / "results" / f"pretrained{ending}"
    if count == 5:
        keras_file, path = exported_five / "five.keras", exported_five / f"five{ending}"
    tables = []
    for model in (keras_file, path):
        results = tmp_path / model.suffix
        assert run("--model", model, "--data", test_csv, "--results", results) == 0
        tables.append(pd.read_csv(results / "test_key_points.csv"))
    assert tables[0].columns.tolist() == tables[1].columns.tolist()
    assert tables[0].shape == (40, 1 + 3 * count)
    differences = (tables[0] - tables[1]).abs().to_numpy()
    if "small" in ending:  # 8-bit weights: a point may jump
        assert np.median(differences) < 0.5
    else:
        assert differences.max() < 0.011  # the table is rounded to 0.001


def test_an_onnx_file_with_a_symbolic_size_is_accepted(extras, exported, tmp_path):
    """As tf2onnx writes them, and as this project exported them once."""
    import onnx

    made = onnx.load(exported / "results" / "pretrained.onnx")
    named = {value.name: value.type.tensor_type.shape.dim for value in made.graph.output}
    assert [size.dim_param or size.dim_value for size in named["spread"]] == ["batch", 15]
    named["spread"][1].dim_param = "unk__596"
    onnx.save(made, tmp_path / "earlier.onnx")
    model, record = load_model(tmp_path / "earlier.onnx")
    assert model.output["spread"].shape == (None, 15) and record == {}
    assert network.predict(model, np.zeros((3, 96, 96)))[1].shape == (3, 15)


@pytest.fixture
def keras_file(tmp_path_factory):
    """A file in a .keras file's place, for models that are not loaded from it."""
    path = tmp_path_factory.mktemp("model") / "m.keras"
    path.write_text("a model")
    return path


def replace_onnx(monkeypatch, **changes):
    """Let --export onnx use another converter or runner."""
    (form,) = export.FORMS["onnx"]
    monkeypatch.setitem(export.FORMS, "onnx", (form._replace(**changes),))


def test_an_export_that_the_model_flag_would_refuse_is_not_written(
    extras, test_csv, keras_file, tmp_path, monkeypatch, capsys
):
    loaded = Landmarker(smallest_network(), {}, keras_file)
    other = five_points()
    monkeypatch.setattr(fkp, "load_landmarker", lambda path: loaded)
    replace_onnx(monkeypatch, convert=lambda model: to_onnx(other).replace(b"spread", b"sprawl"))
    flags = "--model", keras_file, "--data", test_csv, "--results", tmp_path
    assert run("--export", "onnx", *flags) == 2
    error = capsys.readouterr().err
    assert "m.onnx cannot be made (" in error and "sprawl" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_size_difference_and_time_are_printed(
    extras, test_csv, keras_file, tmp_path, monkeypatch, capsys
):
    loaded = Landmarker(smallest_network(), {}, keras_file)
    monkeypatch.setattr(fkp, "load_landmarker", lambda path: loaded)
    assert run("--export", "litert", "--data", test_csv, "--results", tmp_path / "r") == 0
    printed = capsys.readouterr().out
    line = (
        r"r/(\w+)\.tflite: [\d.]+ MB; on 40 faces, the key points differ from Keras by [\d.e-]+ px"
        r" \(RMS\) and no value by more than [\d.e-]+ px; [\d.]+ ms per face, one at a time"
        r" \(Keras [\d.]+ ms\)"
    )
    names = re.findall(line, printed)
    assert len(names) == 2 and names[1] == f"{names[0]}_small"
    files = {f"{name}.tflite" for name in names}
    assert files | {f"{file}.json" for file in files} == {
        path.name for path in tmp_path.glob("r/*")
    }


def test_an_export_that_differs_is_refused(
    extras, test_csv, keras_file, tmp_path, monkeypatch, capsys
):
    loaded = Landmarker(smallest_network(), {}, keras_file)
    made = to_onnx(loaded.model)
    monkeypatch.setattr(fkp, "load_landmarker", lambda path: loaded)
    replace_onnx(monkeypatch, convert=lambda model: made)
    monkeypatch.setattr(export, "TIMED", 2)
    arguments = ["--export", "onnx", "--model", keras_file, "--data", test_csv]
    arguments += ["--results", tmp_path]
    (tmp_path / "m.onnx").write_text("earlier")

    def refused(message):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
        assert (tmp_path / "m.onnx").read_text() == "earlier"

    def open_wrong(path, wrong, open_file=run_onnx):
        def predict(pictures):
            found = open_file(path)(pictures)
            found["spread"][0, 3] += wrong * (len(pictures) > 1)
            return found

        return predict

    for wrong in (0.02, np.nan):
        with monkeypatch.context() as patch:
            replace_onnx(patch, open_file=partial(open_wrong, wrong=wrong))
            refused("differ from Keras by")
    with monkeypatch.context() as patch:
        replace_onnx(patch, convert=lambda model: b"not a model")
        refused("m.onnx cannot be made (")
    assert run(*arguments) == 0
    assert (tmp_path / "m.onnx").read_bytes() == made


@pytest.mark.parametrize("kind", list(EXTRAS))
def test_missing_extras_are_one_sentence(kind, test_csv, tmp_path, monkeypatch, capsys):
    name, package = next(iter(EXTRAS[kind].items()))
    monkeypatch.setitem(sys.modules, name, None)
    results = tmp_path / "r"
    assert run("--export", kind, "--data", test_csv, "--results", results) == 2
    error = capsys.readouterr().err
    assert "pip install" in error and f"'{package}'" in error and error.count("\n") == 1
    assert not results.exists()


def snippets():
    """The indented blocks of code in the models' README on Python."""
    section = (
        (ROOT / "models/README.md")
        .read_text()
        .split("## Using it from Python")[1]
        .split("\n## ")[0]
    )
    blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", section, flags=re.M)
    return [block for block in blocks if "import" in block]


@pytest.mark.parametrize("library", ["keras", "ai_edge_litert", "onnxruntime"])
def test_readmes_code_runs_as_it_stands(library, extras, exported, expected, faces, monkeypatch):
    (code,) = (block for block in snippets() if f"{library}" in block)
    blank = "np.zeros((96, 96), np.float32)"
    assert code.count(blank) == 1  # stands for the reader's picture
    np.save(exported / "face.npy", faces.pictures[4])
    code = code.replace(blank, "np.load('face.npy').astype(np.float32)")
    code = textwrap.dedent(code)
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.Import)]
    froms = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    imported = [alias.name for node in imports for alias in node.names]
    imported += [node.module for node in froms]
    # Nothing of this project.
    assert {name.split(".")[0] for name in imported} == {"numpy", library}
    monkeypatch.chdir(exported)
    found = {}
    exec(code, found)
    np.testing.assert_allclose(found["points"], expected[0][4], atol=0.01)
    np.testing.assert_allclose(found["spread"], expected[1][4], atol=0.01)
