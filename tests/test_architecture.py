"""The code is held to its own architecture: layers, one TensorFlow import, no keras, lines that fit a screen."""

import ast
import pathlib
import re

import pytest

from common.cli import start

ROOT = pathlib.Path(__file__).resolve().parents[1]
METHODS = tuple(start.train_modules())
SOURCES = sorted(path for folder in ("common", *METHODS, "benchmarks") for path in (ROOT / folder).rglob("*.py"))

# An import goes down this list or stays in its package; packages of one line do not import each other.
FLOORS = (
    "common.compat common.console common.files",
    "common.flags common.graph",
    "common.command common.nn common.data common.runs common.distributed",
    "common.training",
    "common.riemannian",
    "common.cli",
    "METHODS common.results common.launch",
    "sopt_gs common.report common.reproduce",
    "benchmarks",
)


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def place_of(module):
    """Returns (floor, package) of a module."""
    for floor, packages in enumerate(FLOORS):
        for package in packages.replace("METHODS", " ".join(m for m in METHODS if m != "sopt_gs")).split():
            if module == package or module.startswith(f"{package}."):
                return floor, package
    raise AssertionError(f"{module} has no floor")


def imported_modules(path):
    """All modules that a file imports, `from package import module` resolved to the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), f"{alias.name}.py")
                yield f"{node.module}.{alias.name}" if inner.exists() else node.module


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__init__.py"], ids=module_of)
def test_imports_go_down(path):
    floor, package = place_of(module_of(path))
    for module in imported_modules(path):
        if module.split(".")[0] in ("common", *METHODS, "benchmarks"):
            below, other = place_of(module)
            assert below < floor or other == package, f"{module_of(path)} imports {module}"


def test_only_compat_imports_tensorflow_nothing_keras_and_common_no_method_and_torch_is_for_comparison():
    for path in SOURCES:
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert "keras" not in roots, path
        assert ("tensorflow" in roots) == (module_of(path) == "common.compat"), path
        assert not (path.is_relative_to(ROOT / "common") and roots & set(METHODS)), path
        assert not roots & {"torch", "geotorch"} or path.name in ("torch_maps.py", "torch_step.py"), path
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"\btf\.(keras|layers|contrib|estimator)\b", code), path


def test_matplotlib_is_imported_only_to_draw():
    for path in SOURCES:
        top = ast.parse(path.read_text(encoding="utf-8")).body
        imports = [node for node in top if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any("matplotlib" in ast.unparse(node) for node in imports), path


def test_lines_have_at_most_120_characters():
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 120, f"{path}:{number}"


def test_no_assert_for_user_errors_in_the_source():
    for path in SOURCES:
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))), path
