"""What cannot be used is one sentence on stderr with the file, exit status 2, and nothing lost."""

import ast
import gzip
import io
import json
import resource
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, smallest_network, write_csv
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import damaged, tries

import face_key_points as fkp
import model_builder as mb
from data.faces import synthetic_faces
from data.key_points import COLUMNS
from data.system.command_line import run_script
from data.system.files import InputError
from models.storage import Checkpoint, Landmarker, load_model, save_model, weights_digest
from models.training.progress import write_log
from results.figures.plots import plot_training
from results.predictions import predict_file

PIXELS = " ".join(["7"] * 9216)


def field(name, value):
    """A change to the second row of a good table."""

    def change(table):
        table = table.astype({name: object})
        table.loc[1, name] = value
        return table.to_csv(index=False).encode()

    return change


def whole(change):
    return lambda table: change(table.to_csv(index=False).encode())


def zipped(*names):
    def change(table):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.writestr(name, table.to_csv(index=False))
        return packed.getvalue()

    return change


def placeholder(table, value):
    """The nose is missing in the second row."""
    for axis in "xy":
        table = field_of(table, f"nose_tip_{axis}", value)
    return table.to_csv(index=False).encode()


def field_of(table, name, value):
    table = table.astype({name: object})
    table.loc[1, name] = value
    return table


def shares(table):
    for name in COLUMNS:
        table[name] = table[name].astype(float) / 96
    return table.to_csv(index=False).encode()


# Name of the file, how it comes about from a good table, words of the message.
BAD_FILES = {
    "empty": ("a.csv", whole(lambda data: b""), "is empty"),
    "only a header": ("a.csv", whole(lambda data: data.split(b"\n")[0] + b"\n"), "no rows"),
    "no Image": ("a.csv", lambda t: t.drop(columns="Image").to_csv().encode(), "named Image"),
    "half a pair": ("a.csv", lambda t: t.drop(columns="nose_tip_x").to_csv().encode(), "only one"),
    "two columns": (
        "a.csv",
        whole(lambda d: d.replace(b"nose_tip_y", b"nose_tip_x", 1)),
        "has two",
    ),
    "few pixels": ("a.csv", field("Image", PIXELS[2:]), "row 2 .* 9,215 grey values instead"),
    "many pixels": ("a.csv", field("Image", PIXELS + " 7"), "row 2 .* 9,217 grey values instead"),
    "300": ("a.csv", field("Image", "300" + PIXELS[1:]), "row 2 .* grey value 300, outside"),
    "-1": ("a.csv", field("Image", "-1" + PIXELS[1:]), "row 2 .* grey value -1, outside"),
    "1.5": ("a.csv", field("Image", "1.5" + PIXELS[1:]), "row 2 .* whole numbers"),
    "nan": ("a.csv", field("Image", "nan" + PIXELS[1:]), "row 2 .* whole numbers"),
    "text": ("a.csv", field("Image", "abc"), "row 2 .* whole numbers"),
    "tabs": ("a.csv", field("Image", PIXELS.replace(" ", "\t")), "row 2 .* whole numbers and bl"),
    "no picture": ("a.csv", field("Image", None), "row 2 .* 0 grey values"),
    "inf": ("a.csv", field("nose_tip_x", "inf"), "nose_tip_x in row 2 .* 'inf', not a pos"),
    "1e30": ("a.csv", field("nose_tip_y", "1e30"), "nose_tip_y in row 2 .* '1e30'"),
    "abc": ("a.csv", field("nose_tip_x", "abc"), "nose_tip_x in row 2 .* 'abc'"),
    "True": (
        "a.csv",
        lambda t: t.assign(nose_tip_x="True").to_csv(index=False).encode(),
        "nose_tip_x in row 1 .* 'True'",
    ),
    "ragged": ("a.csv", whole(lambda data: data + b"1,2," * 20), "line 5.*fix that line"),
    "shifted": ("a.csv", whole(lambda d: d.replace(b"\n", b"\n7,")), "more fields"),
    "open quote": ("a.csv", whole(lambda data: data + b'"'), "EOF inside string"),
    "UTF-16": ("a.csv", whole(lambda data: data.decode().encode("utf-16")), "not UTF-8"),
    "cut gzip": ("a.csv.gz", whole(lambda data: gzip.compress(data)[:-9]), "download it again"),
    "no gzip": ("a.csv.gz", whole(lambda data: b"\x80" + data), "download it again"),
    "a web page": (
        "a.csv",
        whole(lambda d: b"<html>Sign in</html>"),
        "<html>Sign in</html>. but no r",
    ),
    "other columns": (
        "a.csv",
        whole(lambda d: d.replace(b"Image", b"pixels")),
        "no column named Image; .*says: left_eye_center_x, .*, …",
    ),
    "blanks around words": ("a.csv", field("nose_tip_x", " no "), "row 2 .*' no ', not a position"),
    "of 256x256": ("a.csv", field("nose_tip_y", "200.5"), "row 2 .*not a position in the 96x96"),
    "semicolons": ("a.csv", whole(lambda d: d.replace(b",", b";")), "columns by semicolons; save"),
    "semicolons and commas": (
        "a.csv",
        whole(lambda d: d.replace(b",", b";").replace(b".", b",")),
        "by semicolons.* points in its decimal",
    ),
    "tabs between columns": ("a.csv", whole(lambda d: d.replace(b",", b"\t")), "columns by tabs"),
    "decimal comma": ("a.csv", field("nose_tip_x", "39,2"), "row 2 .*written with a point"),
    "decimal commas": (
        "a.csv",
        whole(lambda d: d.replace(b".", b",")),
        "write points|as CSV again",
    ),
    "-1 for missing": ("a.csv", lambda t: placeholder(t, "-1"), r"row 2 .*\(-1, -1\), which cann"),
    "0 for missing": ("a.csv", lambda t: placeholder(t, "0"), r"row 2 .*\(0, 0\), which cann"),
    "shares": ("a.csv", lambda t: shares(t), "fractions of the picture, 0 to 1; convert"),
    "a Mac's zip of two": ("a.zip", zipped("a.csv", "__MACOSX/._a.csv", "b.csv"), "one CSV"),
    "cut zip": ("a.zip", lambda t: zipped("a.csv")(t)[:-9], "download it again"),
    "two in a zip": ("a.zip", zipped("a.csv", "b.csv"), "one CSV.*alone in a .zip"),
    "nothing in a zip": ("a.zip", zipped(), "one CSV.*alone in a .zip"),
    "nothing labelled": (
        "a.csv",
        lambda t: t.assign(**dict.fromkeys(COLUMNS, "")).to_csv(index=False).encode(),
        "no row with any key point labelled",
    ),
    "folder": (".", None, "is a folder"),
    "missing": ("missing.csv", None, "does not exist"),
}


def refused(capsys, status):
    """The one sentence that was printed."""
    printed = capsys.readouterr().err
    assert status == 2 and printed.startswith("error: ") and printed.endswith(".\n"), printed
    assert printed.count("\n") == 1
    return printed


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_training_files(case, training_csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mb, "train", None)  # it must not come to that
    name, change, message = BAD_FILES[case]
    path = tmp_path / "data" / name
    (tmp_path / "data").mkdir()
    if change:
        path.write_bytes(change(pd.read_csv(training_csv, nrows=3, dtype=str)))
    model, results = tmp_path / "m.keras", tmp_path / "results"
    results.mkdir()
    kept = [model, model.with_suffix(".json"), results / "training_log.csv"]
    for file in kept:
        file.write_text("earlier")
    before = sorted(tmp_path.rglob("*"))
    status = mb.main(["--data", str(path), "--model", str(model), "--results", str(results)])
    error = refused(capsys, status)
    assert str(path) in error
    assert pd.Series(error).str.contains(message).all(), error
    assert sorted(tmp_path.rglob("*")) == before
    assert all(file.read_text() == "earlier" for file in kept)


def test_bad_row_far_down_leaves_the_earlier_results(loaded_once, trained, faces, tmp_path, capsys):
    """Predictions are written as the file is read; the error comes after hundreds of faces."""
    path = write_csv(tmp_path / "long.csv", np.concatenate([faces.pictures] * 3))
    path.write_text(path.read_text() + "7 7 7\n")
    results = tmp_path / "results"
    results.mkdir()
    (results / "test_key_points.csv").write_text("earlier")
    model = trained / "models" / "small.keras"
    flags = ["--data", path, "--model", model, "--results", results, "--no-mirror"]
    status = fkp.main(list(map(str, flags)))
    assert "row 361 below the header has 3 grey values" in refused(capsys, status)
    assert [file.name for file in results.iterdir()] == ["test_key_points.csv"]
    assert (results / "test_key_points.csv").read_text() == "earlier"


# --- models ---


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A model of a few kB with the shapes of ours, and what it predicts."""
    model = smallest_network()
    path = tmp_path_factory.mktemp("small") / "small.keras"
    save_model(model, path, {})
    return path, weights_digest(model)


@tries(300)
@given(data=st.data())
def test_damaged_models_load_as_they_were_or_not_at_all(small_model, tmp_path, data):
    path = tmp_path / "damaged.keras"
    path.write_bytes(data.draw(damaged(small_model[0].read_bytes(), count=2)))
    try:
        model, _ = load_model(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    assert weights_digest(model) == small_model[1]


@tries(60)
@given(data=st.data())
def test_whole_archives_of_damaged_parts(small_model, tmp_path, data):
    """The checksums are right, what they are of is not."""
    path = tmp_path / "damaged.keras"
    member = data.draw(st.sampled_from(["config.json", "metadata.json", "model.weights.h5"]))
    with zipfile.ZipFile(small_model[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, data.draw(damaged(content)) if name == member else content)
    try:
        model, _ = load_model(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    assert model.output["key_points"].shape == (None, 30)
    assert model.output["spread"].shape == (None, 15)


def test_one_wrong_bit_in_the_weights_is_seen(small_model, tmp_path):
    import keras

    content = bytearray(small_model[0].read_bytes())
    kernel = keras.saving.load_model(small_model[0]).get_weights()[0].tobytes()
    content[bytes(content).index(kernel) + 10] ^= 1
    path = tmp_path / "bit.keras"
    path.write_bytes(content)
    with pytest.raises(InputError, match="bit.keras is not a whole .keras file"):
        load_model(path)


def test_a_model_that_runs_code_is_refused(tmp_path, capsys):
    import keras

    ran = tmp_path / "ran"
    layers = keras.layers
    unsafe = keras.Sequential(
        [keras.Input((96, 96, 1)), layers.Lambda(lambda x: x), layers.Flatten()]
    )
    unsafe.save(tmp_path / "lambda.keras")
    config = {
        "module": "os",
        "class_name": "system",
        "config": {"command": f"touch {ran}"},
        "registered_name": None,
    }
    with zipfile.ZipFile(tmp_path / "system.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    for name in ("lambda.keras", "system.keras"):
        model = ["--init", str(tmp_path / name), "--model", str(tmp_path / "m.keras")]
        assert name in refused(capsys, mb.main([*model, "--results", str(tmp_path / "r")]))
    assert not ran.exists() and not (tmp_path / "m.keras").exists()


def test_folder_as_model_and_record(small_model, tmp_path, capsys):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(InputError, match="folder.keras does not exist"):
        load_model(tmp_path / "folder.keras")
    path = tmp_path / "m.keras"
    path.write_bytes(small_model[0].read_bytes())
    for text in ("[1]", "{", "\udcff"):
        path.with_suffix(".json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match="m.json is not the JSON that was written"):
            load_model(path)


# --- disks ---


def test_full_disk_is_one_sentence_and_the_earlier_files_stay(small_model, tmp_path):
    """A limit on the size of files stands for the full disk: writes fail half way."""
    import keras

    model = keras.saving.load_model(small_model[0])
    model.compile(keras.optimizers.AdamW())
    model.optimizer.build(model.trainable_variables)
    history = [{"epoch": i, "loss": 1.0, "validation_rmse_px": 1.0} for i in range(1, 2000)]
    checkpoint = Checkpoint(tmp_path / "m.resume.npz", {})
    faces = synthetic_faces(16, 0)
    loaded = Landmarker(model, {}, small_model[0])
    writers = {
        "m.keras": lambda path: save_model(model, path, {}),
        "m.json": lambda path: save_model(model, path.with_suffix(".keras"), {"a": [1] * 20000}),
        "m.resume.npz": lambda path: checkpoint.save(model, history),
        "log.csv": lambda path: write_log(path, history),
        "log.png": lambda path: plot_training(path, history),
        "test.csv": lambda path: predict_file(loaded, [faces] * 3, path, False),
    }
    for name, write in writers.items():
        path = tmp_path / name
        path.write_text("earlier")
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        small = 100_000 if name == "m.json" else 5_000
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (small, limit[1]))
            with pytest.raises(InputError, match=f"{name} cannot be written .File too large"):
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert path.read_text() == "earlier"
    assert {file.name for file in tmp_path.iterdir()} == {*writers}


@pytest.mark.parametrize("flag", ["--results", "--model"])
def test_folders_that_cannot_be_written(flag, tmp_path, capsys):
    (tmp_path / "file").touch()  # not a folder; root may write into any
    bad = tmp_path / "file" / ("r" if flag == "--results" else "m.keras")
    paths = {"--results": tmp_path / "r", "--model": tmp_path / "m.keras", flag: bad}
    status = mb.main([str(part) for pair in paths.items() for part in pair])
    assert "cannot be written to" in refused(capsys, status)


def test_other_trouble_with_a_disk_is_one_sentence(capsys):
    def fail(arguments):
        raise OSError(28, "No space left on device", "somewhere")

    assert "No space left" in refused(capsys, run_script([], mb.parse_arguments, fail))


# --- what the scripts may do ---


@pytest.mark.parametrize("name", ["model_builder.py", "face_key_points.py"])
def test_no_pickle_and_no_exec(name):
    tree = ast.parse((ROOT / name).read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not used & {"pickle", "joblib", "dill", "marshal", "exec", "eval", "compile_command"}
    assert not used & {
        "system",
        "urlopen",
        "urlretrieve",
        "get_file",
        "enable_unsafe_deserialization",
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
            assert node.value.value == (node.arg == "safe_mode")
