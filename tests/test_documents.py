"""The documents: links resolve, named files exist, commands work, the README stays short."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    path for folder in (".", "data", "models", "results", "tests", "tests/benchmarks")
    for path in (ROOT / folder).glob("*.md")
)  # fmt: skip
PRODUCT = [ROOT / "model_builder.py", ROOT / "face_key_points.py"]
PRODUCT += sorted(
    path for top in ("data", "models", "results") for path in (ROOT / top).rglob("*.py")
)

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
    places = [ROOT, path.parent, *(ROOT / room for room in ("data", "models", "tests/benchmarks"))]
    for named in re.findall(r"(?<![\w<*/])[\w/]+\.py\b", path.read_text()):
        assert any((place / named).is_file() for place in places), named


def test_readme_is_short_and_in_its_order():
    assert len(README.encode()) <= 12_000
    assert len(re.findall(r"^\|[-:| ]+\|$", README, flags=re.M)) <= 4
    assert re.findall(r"^## (.*)$", prose(README), flags=re.M) == [
        "The number to expect",
        "Run",
        "Test",
        "Your own photos",
        "Python in five lines",
        "Your own key points",
        "How it works",
        "The tree",
        "Where it fails",
        "What data and weights may be used for",
    ]


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


def test_tree_names_every_file_of_the_product():
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", section(README, "The tree"), flags=re.M)
    assert len(rows) == len(set(rows))
    product = {name_of(path) for path in PRODUCT if path.name != "__init__.py"}
    assert set(rows) == product


def test_every_benchmark_is_in_the_benchmarks_readme():
    folder = ROOT / "tests" / "benchmarks"
    table = (folder / "README.md").read_text().split("\n## ")[0]
    named = set(re.findall(r"`(\w+\.py)`", table))
    assert named == {path.name for path in folder.glob("*.py")}


def test_five_lines_of_python_run_as_they_stand(monkeypatch):
    (block,) = re.findall(r"(?:^    .*\n)+", section(README, "Python in five lines"), flags=re.M)
    code = re.sub(r"^    ", "", block, flags=re.M)
    assert len(code.splitlines()) == 5
    monkeypatch.chdir(ROOT)
    made = {}
    exec(code, made)
    points, spread = made["points"], made["spread"]
    assert points.shape == (4, 15, 2) and spread.shape == (4, 15)
    assert points.min() > 0 and points.max() < 95


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


def test_words_are_the_fields():
    """Synthetic faces are not called by the words that this project once had for them."""
    once = re.compile(r"\bmade[-_ ]up\b", re.I)
    for path in [*DOCUMENTS, *PRODUCT, *(ROOT / "tests" / "benchmarks").glob("*.py")]:
        assert not once.search(path.read_text()), name_of(path)
