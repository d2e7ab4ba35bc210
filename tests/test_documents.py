"""The documents: links resolve, commands work, figures are those of the shipped weights."""

import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import zipfile

import h5py
import numpy as np
import pytest
from conftest import ROOT

import face_key_points
import model_builder
from data.images.photos import read_photo
from data.settings import Settings
from models.detect.settings import FREE, SearchSettings

README = (ROOT / "README.md").read_text()
MODELS = (ROOT / "models" / "README.md").read_text()
BENCHMARKS = ROOT / "tests" / "benchmarks"
PACKAGES = [ROOT / name for name in ("data", "models", "results")]
PRODUCT = [ROOT / "model_builder.py", ROOT / "face_key_points.py"]
PRODUCT += sorted(path for package in PACKAGES for path in package.rglob("*.py"))
DOCUMENTS = sorted(
    path for folder in (ROOT, *PACKAGES, ROOT / "tests") for path in
    (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)  # fmt: skip
RECORD = json.loads((ROOT / "models" / "pretrained.json").read_text())

PICTURES = {
    (path.parent / link).resolve()
    for path in DOCUMENTS
    for link in re.findall(r"\]\(([^)\s]+\.png)\)", path.read_text())
}


def name_of(path):
    """A path within the project, for a test's name or a message."""
    return path.relative_to(ROOT).as_posix()


def prose(text):
    """A document without its fenced and indented blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def section(text, title):
    """What stands below a heading of the second level."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    return found


def anchors(text):
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_resolve(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text()))
    for link in links:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_relative_to(ROOT) and target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_code_that_is_named_exists(path):
    places = [ROOT, path.parent]
    for named in re.findall(r"(?<![\w<*/])[\w/]+\.py\b", path.read_text()):
        assert any((place / named).is_file() for place in places), named


# --- the README ----------------------------------------------------------------------------------


def test_readme_is_short_and_in_its_order():
    assert len(README.encode()) <= 9_000
    assert len(re.findall(r"^\|[-:| ]+\|$", README, flags=re.M)) <= 4
    assert re.findall(r"^## (.*)$", prose(README), flags=re.M) == [
        "The number to expect",
        "Run",
        "Test",
        "Your own photos and videos",
        "Python in five lines",
        "Your own key points",
        "How it works",
        "The tree",
        "Where it fails",
        "Licences",
    ]


def test_first_screen_says_what_a_visitor_asks():
    first = README.split("\n## ")[0]
    assert len(first.encode()) <= 2_000
    order = ["photos", ".png)", "git clone", "--image", "no training", "key_points.csv", "3.10"]
    order += ["GPU", "RMSE", "licence", "research only"]
    found = [first.find(words) for words in order]
    assert min(found) >= 0 and found == sorted(found)


def test_readmes_commands_are_the_agreed_ones():
    install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
    run, test = (
        re.findall(r"^```\n(.*?)\n```$", section(README, title), flags=re.M | re.S)
        for title in ("Run", "Test")
    )
    scripts = " && .venv/bin/python model_builder.py && .venv/bin/python face_key_points.py"
    assert run == [install + scripts]
    first, *checks = test[0].removeprefix(install).split(" && ")
    assert first == " -r tests/requirements.txt" and len(test) == 1
    assert checks[:3] == [
        ".venv/bin/ruff check .",
        ".venv/bin/ruff format --check .",
        ".venv/bin/mypy",
    ]
    covered = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in PRODUCT}
    words = checks[3].split()
    assert {word[6:] for word in words if word.startswith("--cov=")} == covered
    assert "--cov-fail-under=90" in words and words[-1] == "tests" and len(checks) == 4


def test_tree_names_every_folder_of_code_and_nothing_else():
    (tree,) = re.findall(r"^```\n(.*?)^```$", section(README, "The tree"), flags=re.M | re.S)
    named, top = [], ""
    for indent, name in re.findall(r"^( *)([\w./]+) {2,}\S", tree, flags=re.M):
        top = top if indent else name
        named.append(top + name if indent else name)
    assert len(named) == len(tree.splitlines())
    code = {
        name_of(path) if path.parent == ROOT else name_of(path.parent) + "/" for path in PRODUCT
    }
    assert set(named) == code | {"tests/"} and len(set(named)) == len(named)


def test_five_lines_of_python_run_as_they_stand(monkeypatch, tmp_path):
    (block,) = re.findall(r"(?:^    .*\n)+", section(README, "Python in five lines"), flags=re.M)
    code = re.sub(r"^    ", "", block, flags=re.M)
    assert len(code.splitlines()) == 5
    from matplotlib import cbook

    portrait = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    shutil.copy(portrait, tmp_path / "photo.jpg")
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(code, made)
    faces = made["faces"]
    assert faces.points.shape == (1, 15, 2) and faces.spread.shape == (1, 15)
    x, y, width, height = faces.boxes[0]
    assert (faces.points[0] > (x, y)).all() and (faces.points[0] < (x + width, y + height)).all()
    assert 0 < np.median(faces.spread) < 3 and max(width, height) < max(read_photo(portrait).size)


# --- the lists of files --------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_readme_of_a_package_lists_each_file_of_its_code_once(package):
    text = section((package / "README.md").read_text(), "The code")
    rows = re.findall(r"^\| `([\w/]+\.py)` \| \S", text, flags=re.M)
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert set(rows) == {file for file in files if not file.endswith("__.py")}
    assert len(set(rows)) == len(rows)


def test_every_benchmark_is_in_the_benchmarks_readme():
    table = (BENCHMARKS / "README.md").read_text().split("\n## ")[0]
    named = set(re.findall(r"`(\w+\.py)`", table))
    assert named == {path.name for path in BENCHMARKS.glob("*.py")}


# --- commands ------------------------------------------------------------------------------------


def code_of(text):
    """The lines of a document's fenced and indented blocks."""
    fenced = "".join(re.findall(r"^```\n(.*?)^```$", text, flags=re.M | re.S))
    return fenced.splitlines() + re.findall(r"^    (.*)$", text, flags=re.M)


COMMANDS = [
    (name_of(path), command)
    for path in DOCUMENTS
    for line in code_of(path.read_text())
    for command in line.split(" && ")
    if re.search(r"(^|[ /])python ", command)
]


def words_after(line):
    """What follows the interpreter in a command, without what is said about it."""
    words = shlex.split(line, comments=True)
    (at,) = (i for i, word in enumerate(words) if word.endswith("python"))
    return words[at + 1 :]


@pytest.mark.parametrize("document, command", COMMANDS)
def test_commands_of_the_documents_run_what_is_there(document, command):
    scripts = {"model_builder.py": model_builder, "face_key_points.py": face_key_points}
    first, *rest = words_after(command)
    if first in scripts:
        scripts[first].parse_arguments(rest)  # exits if a flag is unknown
    elif first == "-m":
        assert importlib.util.find_spec(rest[0])
    else:
        assert (ROOT / first).is_file()


def test_emptying_the_outputs_leaves_code_and_pictures(tmp_path):
    if not shutil.which("git"):
        pytest.skip("needs git")
    (command,) = re.findall(
        r"^    (git clean .*)$", (ROOT / "results" / "README.md").read_text(), flags=re.M
    )
    shutil.copy(ROOT / ".gitignore", tmp_path)
    kept = {"README.md", "pictures.py", "not_committed_yet.py"}
    kept |= {path.name for path in PICTURES if path.parent.name == "results"}
    written = {
        "validation.json",
        "test_result01.png",
        "key_points.csv",
        "m.tflite",
        "dry_run/log.csv",
    }
    elsewhere = {"models/my_model.keras", "data/training.csv"}
    for name in [*(f"results/{name}" for name in kept | written), *elsewhere]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "results").iterdir()} == kept
    assert all((tmp_path / name).exists() for name in elsewhere)


# --- figures -------------------------------------------------------------------------------------


def weights_in(name):
    """The number of weights in a saved model, trained or not."""
    with zipfile.ZipFile(ROOT / "models" / f"{name}.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    sizes = []
    file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    return sum(sizes)


def test_model_card_says_of_the_training_what_the_record_says():
    text = section(MODELS, "Model card: `pretrained.keras`")
    settings, results = RECORD["settings"], RECORD["results"]
    rows = re.findall(
        r"^\| .* \| ([\d,]+) \| ([\d,]+) \| (\d\.\d{3}) \| (\d\.\d{3}) \|$", text, flags=re.M
    )
    assert rows == [
        (
            f"{data['faces']:,}",
            f"{len(data['validation_rows']):,}",
            f"{score['rmse_px']:.3f}",
            f"{score['rmse_mirrored_px']:.3f}",
        )
        for data, score in zip(RECORD["data"], results["validation"], strict=True)
    ]
    first, *further = (data["faces"] - len(data["validation_rows"]) for data in RECORD["data"])
    epoch = first * settings["first_repeats"] + sum(further)
    epoch -= epoch % settings["batch_size"]
    assert re.sub(r"\s+", " ", text).count(
        f"On {results['training_faces']:,} pictures, for {results['epochs']} epochs in batches of"
        f" {settings['batch_size']} ({results['epochs'] * epoch / 1e6:.1f} million training"
        f" samples), from random weights, seed {settings['seed']}."
    )


def test_the_free_weights_card_says_what_their_record_says():
    text = re.sub(r"\s+", " ", section(MODELS, "Model card: `synthetic.keras`"))
    record = json.loads((ROOT / "models" / "synthetic.json").read_text())
    settings, results, (data,) = record["settings"], record["results"], record["data"]
    (score,) = results["validation"]
    assert f"in batches of {settings['batch_size']}, from random weights" in text
    last = f"then on {results['training_faces']:,} others, for [^;]* and {results['epochs']} more"
    assert re.search(last + r" \(", text)
    assert (
        f"A further {len(data['validation_rows']):,} of these faces were held out: RMSE"
        f" {score['rmse_px']:.3f} px, with flip averaging {score['rmse_mirrored_px']:.3f} px."
    ) in text

    text = re.sub(r"\s+", " ", section(MODELS, "Model card: `synthetic_68.keras`"))
    record = json.loads((ROOT / "models" / "synthetic_68.json").read_text())
    (same,), (score,) = record["data"], record["results"]["validation"]
    assert same["validation_rows"] == data["validation_rows"]
    assert (
        f"RMSE {score['rmse_px']:.3f} px, with flip averaging {score['rmse_mirrored_px']:.3f} px."
    ) in text


def test_model_cards_say_how_large_the_shipped_files_are():
    text = re.sub(r"\s+", " ", MODELS)
    size = (ROOT / "models" / "pretrained.keras").stat().st_size
    assert f"{weights_in('pretrained') / 1e6:.1f} M parameters, {size / 1e6:.1f} MB;" in text
    for name in ("free_finder", "free_checker", "free_refiner"):
        count, size = weights_in(name), (ROOT / "models" / f"{name}.keras").stat().st_size
        assert f"`{name}.keras` ({size / 1e6:.2f} MB, {count:,} parameters," in text
        with np.load(ROOT / "models" / f"{name}.npz") as same:
            assert sum(same[key].size for key in same.files) == count


def test_held_out_faces_are_as_many_in_every_table_of_the_shipped_weights():
    sources = ("Kaggle's training file", "LFW", "AFLW")
    counts = [f"{score['faces']:,}" for score in RECORD["results"]["validation"]]
    text = MODELS + (BENCHMARKS / "README.md").read_text()
    for source, count in zip(sources, counts[:3], strict=True):
        rows = re.findall(rf"^\| {source} \| ([\d,]+) \| [^|\n]*\.", text, flags=re.M)
        assert set(rows) == {count}, source


def test_history_ends_with_the_shipped_weights():
    (row,) = re.findall(r"^.*\*\*current\*\*.*$", (BENCHMARKS / "HISTORY.md").read_text(), re.M)
    results = RECORD["results"]
    assert f"{results['epochs']} epochs" in row
    assert f"| {results['validation'][0]['rmse_mirrored_px']:.3f} px" in row


def test_settings_that_the_documents_name_are_those_of_the_code():
    settings, search = Settings(), SearchSettings()
    data = (ROOT / "data" / "README.md").read_text()
    assert f"default settings ({settings.epochs} epochs)" in README
    mild = f"fewer than {settings.full_augmentation} epochs and fewer than {settings.full_views:,}"
    assert mild in re.sub(r"\s+", " ", data)
    text = re.sub(r"\s+", " ", section(MODELS, "How faces are found in photos"))
    assert f"above {search.max_spread:g} pixels of the crop" in text
    assert f"({search.max_spread_small:g} for crops of fewer than {search.small_side:g} " in text
    assert f"takes {search.batch} candidates at a time" in text
    assert f"with the free weights above {FREE.max_spread:g} and {FREE.max_spread_small:g})" in text
    assert f"at most {search.max_candidates} candidates" in text
    assert f"at most {search.width:,} pixels wide" in text


@pytest.mark.parametrize("name", ["README.md", "HISTORY.md"])
def test_every_section_of_figures_says_when_they_were_measured(name):
    text = (BENCHMARKS / name).read_text()
    for part in text.split("\n## ")[1:]:
        if re.search(r"^\|[-:| ]+\|$", part, flags=re.M):
            assert re.search(r"\b20\d\d-\d\d-\d\d\b", part), part.splitlines()[0]
