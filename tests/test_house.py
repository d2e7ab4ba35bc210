"""The rules of the house: sizes of files, functions and folders, and versions that agree."""

import ast
import configparser
import re
import sys

import pytest
from conftest import ROOT, unwatched

LONGEST_FILE, LONGEST_FUNCTION, LARGEST_FOLDER = 620, 70, 12
PACKAGES = [ROOT / name for name in ("data", "models", "results")]
PRODUCT = [ROOT / "model_builder.py", ROOT / "face_key_points.py"]
PRODUCT += sorted(path for package in PACKAGES for path in package.rglob("*.py"))
OURS = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))]
FOLDERS = sorted({path.parent for path in PRODUCT} - {ROOT})

# Names in `import` that differ from those in requirements.txt, and packages that are optional: the
# code says what to install where one is missing.
INSTALLED_AS = {"PIL": "pillow", "sklearn": "scikit-learn", "ai_edge_litert": "ai-edge-litert"}
OPTIONAL = {"av", "rich", "tf2onnx", "onnxruntime", "pyarrow", "yaml"}


def name_of(path):
    """A path within the project, for a test's name."""
    return path.relative_to(ROOT).as_posix()


def nodes_of(path):
    """All nodes of a file's syntax tree."""
    with unwatched():
        return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def long_functions(nodes):
    """Names and lengths of the functions that are too long, argument parsers aside."""
    functions = (n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = ((f.name, f.end_lineno - f.lineno + 1) for f in functions)
    return {n: lines for n, lines in lengths if lines > LONGEST_FUNCTION and n != "parse_arguments"}


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_no_file_and_no_function_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    assert not long_functions(nodes_of(path))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_no_folder_has_more_than_a_dozen_files_of_code(folder):
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert len(files) <= LARGEST_FOLDER


def test_a_long_function_is_seen():
    body = "\n".join(["        pass"] * LONGEST_FUNCTION)
    for name, seen in (("method", {"method": LONGEST_FUNCTION + 1}), ("parse_arguments", {})):
        text = f"class Some:\n    def {name}(self):\n{body}\n"
        assert long_functions(list(ast.walk(ast.parse(text)))) == seen


def requirements(name):
    """A requirements file as {package: what follows its name}, comments aside."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [re.fullmatch(r"([\w-]+)(.*)", line) for line in lines if line]
    return {match[1].replace("_", "-").lower(): match[2] for match in found}


def test_what_the_product_imports_is_required():
    needed = set()
    for path in PRODUCT:
        for node in nodes_of(path):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            needed |= {name.split(".")[0] for name in names}
    needed -= {*sys.stdlib_module_names, "data", "models", "results", *OPTIONAL}
    assert {INSTALLED_AS.get(name, name) for name in needed} == set(
        requirements("requirements.txt")
    )


def test_hooks_and_tests_use_the_same_versions():
    pinned = requirements("tests/requirements.txt")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for repository, package in (("ruff-pre-commit", "ruff"), ("mirrors-mypy", "mypy")):
        (version,) = re.findall(rf"{repository}\n    rev: v([\d.]+)\n", hooks)
        assert pinned[package] == f"=={version}"
    numpy = requirements("requirements.txt")["numpy"]
    assert f'additional_dependencies: ["numpy{numpy}"]' in hooks


def test_everything_means_the_same_lowest_and_highest_python():
    (lowest, highest) = re.findall(
        r"Python (3\.\d+)[^0-9]+(3\.\d+)", (ROOT / "README.md").read_text()
    )[0]
    mypy = configparser.ConfigParser()
    mypy.read(ROOT / ".mypy.ini")
    assert mypy["mypy"]["python_version"] == lowest
    target = re.search(r'target-version = "py3(\d+)"', (ROOT / ".ruff.toml").read_text())[1]
    assert f"3.{target}" == lowest
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert f'python: ["{lowest}", "{highest}"]' in workflow and "run: .ci/run" in workflow
