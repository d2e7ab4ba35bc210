"""models/choose.py and models/export/quick.py: which model photos use, and in what form."""

import json
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import numpy as np
import pytest
from conftest import ROOT, smallest_network
from PIL import Image

import face_key_points as fkp
from data.faces import synthetic_faces
from data.key_points import KEY_POINTS, SIXTY_EIGHT, rmse
from data.synthetic.rendered.faces import render_faces
from data.synthetic.rendered.points import read_places
from data.system.files import record_path
from models import choose
from models.choose import find_model, load_for_photos
from models.export import export, quick
from models.export.quick import is_quick_form, load_quickly, quick_path
from models.export.runtimes import RUNTIMES, Exported
from models.storage import FREE, FREE_68, SHIPPED, load_landmarker, save_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A project's folder of models, empty; LiteRT looks as if it were not installed."""
    monkeypatch.setattr(choose, "HERE", tmp_path)
    monkeypatch.setattr(choose, "SHIPPED", tmp_path / "models" / "pretrained.keras")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_own_model_goes_before_the_shipped_one(models):
    own = models / "my_model.keras"
    assert find_model() == own  # which then is said to be missing
    choose.SHIPPED.touch()
    assert find_model() == choose.SHIPPED
    own.touch()
    assert find_model() == own


OWN_RECORDS = {
    "trained on a file": {"data": [{"path": "faces.csv", "synthetic_faces": None}]},
    "trained on synthetic faces": {"data": [{"path": "synthetic", "synthetic_faces": 64}]},
    "without data": {"settings": {"epochs": 2}},
}


@pytest.mark.parametrize("kind", [*OWN_RECORDS, "without JSON", "broken JSON", "another's JSON"])
def test_photos_use_the_own_model_only_if_it_was_trained_on_a_file(kind, models, capsys):
    own, shipped = models / "my_model.keras", choose.SHIPPED

    def said():
        """What was printed, after the line about LiteRT."""
        first, _, rest = capsys.readouterr().out.partition("\n")
        assert "pip install 'ai-edge-litert" in first
        return rest

    record = OWN_RECORDS.get(kind, OWN_RECORDS["trained on a file"])
    save_model(smallest_network(), shipped, {"data": []})
    assert load_for_photos(None).path == shipped
    assert said().startswith(f"Model: {shipped}, the shipped one")
    save_model(smallest_network("ones"), own, record)
    if kind == "without JSON":
        own.with_suffix(".json").unlink()
    elif kind == "broken JSON":
        own.with_suffix(".json").write_text("{broken")
    elif kind == "another's JSON":
        save_model(smallest_network("zeros"), models / "other.keras", record)
        own.with_suffix(".json").write_bytes((models / "other.json").read_bytes())
    chosen = load_for_photos(None)
    text = said()
    if kind == "another's JSON":
        text = text.split("\n", 1)[1]  # two models were loaded
    assert text.count("\n") == 1 and chosen.record is not None
    if kind == "trained on a file":
        assert chosen.path == own and text.startswith(f"Model: {own}, trained on faces.csv")
    else:
        assert chosen.path == shipped
        assert text.startswith(f"Model: {shipped}, the shipped one, because {own} ")
        assert f"--model {own}" in text
        # The pictures of test faces go on with the user's own model.
        assert find_model() == own
    if kind != "broken JSON":
        assert load_for_photos(own).path == own  # --model always wins
        assert capsys.readouterr().out.startswith(f"Model: {own}, given by --model")
    shipped.unlink()
    if kind != "broken JSON":
        assert load_for_photos(None).path == own


@pytest.mark.parametrize("shipped", [SHIPPED, FREE, FREE_68], ids=["research", "free", "68"])
def test_the_shipped_quick_forms_are_of_the_shipped_models(shipped):
    path = quick_path(shipped)
    assert is_quick_form(path, shipped)
    assert path.stat().st_size < 2_000_000
    record, own = (json.loads(record_path(p).read_text()) for p in (path, shipped))
    assert record["weights_sha256"] == own["weights_sha256"]
    assert record["key_points"] == own["key_points"] and record["mean_face"] == own["mean_face"]


@pytest.mark.parametrize("shipped", [SHIPPED, FREE, FREE_68], ids=["research", "free", "68"])
def test_the_shipped_quick_forms_find_what_keras_finds(shipped):
    pytest.importorskip("ai_edge_litert")
    faces = synthetic_faces(40, 3)
    landmarker = load_quickly(shipped)
    assert isinstance(landmarker.model, Exported)
    (found, spread), (points, sure) = (
        each.predict(faces.pictures) for each in (landmarker, load_landmarker(shipped))
    )
    assert 1e-4 < rmse(found, points) < 0.1
    assert np.abs(spread - sure).max() < 0.5


def test_the_free_weights_find_rendered_faces_points():
    """They were trained on rendered faces only, and both models come from one network."""
    both = read_places(ROOT / "tests" / "benchmarks" / "points_72.txt")
    faces, found = render_faces(40, 901, both, workers=1), {}  # identities that no training saw
    for path, names in ((FREE, KEY_POINTS), (FREE_68, SIXTY_EIGHT)):
        record = json.loads(record_path(path).read_text())
        (data,) = record["data"]
        assert "rendered" in data["path"] and not data["first_rows"]
        landmarker = load_landmarker(path)
        assert landmarker.names == names and landmarker.free
        points, _ = landmarker.predict(faces.pictures)
        truth = faces.key_points[:, [faces.names.index(name) for name in names]]
        assert rmse(points, truth) < 2
        found |= {(path, name): points[:, k] for k, name in enumerate(names)}
    for name in set(KEY_POINTS) & set(SIXTY_EIGHT):
        np.testing.assert_allclose(found[FREE, name], found[FREE_68, name], atol=1e-2)


def test_photos_need_no_tensorflow(tmp_path):
    pytest.importorskip("ai_edge_litert")
    code = (
        "import sys, face_key_points\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"  # importing them fails
        "sys.exit(face_key_points.main(sys.argv[1:]))"
    )
    portrait = ROOT / "results" / "grace_hopper_key_points.png"
    arguments = ["--image", portrait, "--results", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    # The user's own model, if there is one here, is Keras's: then this says nothing.
    if (ROOT / "models" / "my_model.keras").exists():
        pytest.skip("models/my_model.keras is used here, not the shipped model")
    assert done.returncode == 0 and "pretrained_small.tflite, the shipped one" in done.stdout
    assert "1 face(s)" in done.stdout


@pytest.fixture
def own(models, monkeypatch):
    """The user's own tiny model, where LiteRT is installed."""
    monkeypatch.undo()
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(quick, "COMPARED", 3)
    monkeypatch.setattr(export, "TIMED", 1)
    path = models / "my_model.keras"
    save_model(smallest_network("ones"), path, {"data": [{"path": "faces.csv"}]})
    return path


def test_a_quick_form_is_written_once_and_never_used_stale(own, capsys):
    path = quick_path(own)
    pictures = synthetic_faces(2, 1).pictures
    first = load_quickly(own)
    assert first.path == path and is_quick_form(path, own)
    assert first.record["data"] == [{"path": "faces.csv"}]
    assert "Writing my_model_small.tflite" in capsys.readouterr().out
    written = path.stat().st_mtime_ns
    assert load_quickly(own).path == path and path.stat().st_mtime_ns == written
    assert "Writing" not in capsys.readouterr().out

    save_model(smallest_network("zeros"), own, first.record)  # trained again
    assert not is_quick_form(path, own)
    again = load_quickly(own)
    assert again.path == path and "Writing" in capsys.readouterr().out
    expected = load_landmarker(own).predict(pictures, mirror=False)[0]
    assert rmse(again.predict(pictures, mirror=False)[0], expected) < quick.RMS

    path.write_bytes(path.read_bytes()[:-1])  # cut short
    assert not is_quick_form(path, own)
    assert load_quickly(own).path == path and is_quick_form(path, own)


BROKEN = {
    "library cut short": (f"interpreter{EXTENSION_SUFFIXES[0]}", "", "interpreter"),
    "built for another NumPy": ("interpreter.py", "raise ValueError('dtype size')", "dtype size"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_photos_go_on_with_keras_where_litert_is_broken(kind, own, tmp_path, monkeypatch, capsys):
    """Installed, so that it is found, but not importable: it was an error."""
    file, content, reason = BROKEN[kind]
    given = load_quickly(own).path  # a .tflite file
    package = tmp_path / "broken_litert"
    package.mkdir()
    (package / file).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(RUNTIMES, ".tflite", ("broken_litert.interpreter", "ai-edge-litert>=2"))
    monkeypatch.setattr(choose, "HERE", tmp_path)
    capsys.readouterr()
    assert load_for_photos(None).path == own
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("LiteRT is installed but cannot be imported (") and reason in first
    assert "falling back to Keras" in first and "--force-reinstall 'ai-edge-litert>=2'" in first
    assert second.startswith(f"Model: {own}, trained on faces.csv")
    Image.new("L", (50, 50)).save(tmp_path / "p.png")
    arguments = "--model", given, "--image", tmp_path / "p.png", "--results", tmp_path
    assert fkp.main([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert f"{given} needs a package that cannot be imported (" in error and reason in error
    assert error.count("\n") == 1 and not (tmp_path / "key_points.csv").exists()


def test_a_quick_form_that_differs_from_keras_is_not_used(own, monkeypatch, capsys):
    monkeypatch.setattr(quick, "RMS", -1.0)
    landmarker = load_quickly(own)
    assert landmarker.path == own and not quick_path(own).exists()
    assert "would differ from Keras" in capsys.readouterr().out


def test_a_model_with_another_models_record_gets_no_quick_form(own):
    record = json.loads(record_path(own).read_text())
    record_path(own).write_text(json.dumps(record | {"weights_sha256": "0"}))
    landmarker = load_quickly(own)
    assert landmarker.path == own and landmarker.record == {}
    assert not quick_path(own).exists()
