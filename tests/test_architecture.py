"""The shape of the package: small files, small functions, imports at the top, layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_jobs"
LONGEST_FILE = 400
LONGEST_CLASS = 250
LONGEST_FUNCTION = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.relative_to(PACKAGE).parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def lines_of(node: ast.ClassDef | Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def code_lines_of(node: Function) -> int:
    """Return the length of a function without its docstring, which may say as much as it has to."""
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        assert first.end_lineno is not None
        return lines_of(node) - (first.end_lineno - first.lineno + 1)
    return lines_of(node)


def is_internal(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] == "django_jobs"
    return any(alias.name.split(".")[0] == "django_jobs" for alias in node.names)


def imports_inside_functions(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    seen = set()
    for function in ast.walk(tree):
        if isinstance(function, Function):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and is_internal(node) and node not in seen:
                    seen.add(node)
                    yield node


def test_the_package_is_found():
    assert PACKAGE / "exceptions.py" in modules()


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_file_has_one_concept_and_fits_into_the_head(path: Path):
    length = len(path.read_text().splitlines())
    assert length <= LONGEST_FILE, f"{name_of(path)} has {length} lines; {LONGEST_FILE} at most. Two nouns in one file?"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_classes_and_functions_are_short(path: Path):
    too_long = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef) and lines_of(node) > LONGEST_CLASS:
            too_long.append(f"{name_of(path)}:{node.lineno} class {node.name}: {lines_of(node)} > {LONGEST_CLASS}")
        if isinstance(node, Function) and code_lines_of(node) > LONGEST_FUNCTION:
            too_long.append(f"{name_of(path)}:{node.lineno} {node.name}(): {code_lines_of(node)} > {LONGEST_FUNCTION}")
    assert not too_long, "\n".join(too_long)


# The package root hands out its public names lazily, so that it can be imported while apps are loading.
@pytest.mark.parametrize("path", [path for path in modules() if path != PACKAGE / "__init__.py"], ids=name_of)
def test_internal_imports_stand_at_the_top(path: Path):
    hidden = [f"{name_of(path)}:{node.lineno}" for node in imports_inside_functions(tree_of(path))]
    assert not hidden, "imports inside a function:\n" + "\n".join(hidden)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_inside_imports_the_public_names_of_the_root(path: Path):
    """`from django_jobs import job` inside the package would point up, past every layer."""
    submodules = {entry.stem for entry in PACKAGE.iterdir()}
    upward = [
        f"{name_of(path)}:{node.lineno} {alias.name}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module == "django_jobs" and not node.level
        for alias in node.names
        if alias.name not in submodules
    ]
    assert not upward, "import these from where they are defined:\n" + "\n".join(upward)


def test_imports_point_down_the_layers(capsys: pytest.CaptureFixture[str]):
    exit_code = lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True, no_logo=True)
    assert exit_code == 0, capsys.readouterr().out
