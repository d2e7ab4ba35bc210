"""The rule of imports, read off the code: data <- models <- results <- the two scripts."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest
from conftest import ROOT, unwatched

PACKAGES = ("data", "models", "results")
SCRIPTS = ("model_builder", "face_key_points")
PRODUCT = [f"{script}.py" for script in SCRIPTS]
PRODUCT += sorted(
    path.relative_to(ROOT).as_posix() for top in PACKAGES for path in (ROOT / top).rglob("*.py")
)


@cache
def nodes(path):
    """All that a file consists of."""
    with unwatched():
        return list(ast.walk(ast.parse((ROOT / path).read_text())))


def imported(path):
    """The modules that a file imports, anywhere in it."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "modules are named in full"
            yield node.module


def above(path):
    """What a file must not import: the packages and scripts that build on its package."""
    top = path.split("/")[0] if "/" in path else None
    return {*SCRIPTS, *(PACKAGES[PACKAGES.index(top) + 1 :] if top else ())}


@pytest.mark.parametrize("path", PRODUCT)
def test_imports_run_one_way(path):
    assert not {name.split(".")[0] for name in imported(path)} & above(path)


def test_the_rule_sees_an_upward_import():
    assert above("data/faces.py") == {"models", "results", *SCRIPTS}
    assert above("results/photos.py") == above("model_builder.py") == set(SCRIPTS)
    assert {"data.system.files", "models.storage"} <= set(imported("model_builder.py"))


@pytest.mark.parametrize("path", PRODUCT)
def test_the_search_path_is_left_alone(path):
    """Whoever imports a package finds their own modules where they were."""
    for node in nodes(path):
        touched = isinstance(node, ast.Attribute) and node.attr == "path"
        assert not (touched and getattr(node.value, "id", None) == "sys"), path


def test_modules_do_not_import_one_another_in_a_circle():
    TopologicalSorter({path: [*files_imported(path)] for path in PRODUCT}).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter({"a": ["b"], "b": ["a"]}).prepare()


def files_imported(path):
    """The product's files that a file imports."""
    files = (f"{name.replace('.', '/')}.py" for name in imported(path))
    return [file for file in files if file in PRODUCT]
