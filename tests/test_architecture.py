"""The code is held to its own architecture: layers, one TensorFlow import, no keras, short method scripts."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
METHODS = ("opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs", "grassmann")
SOURCES = sorted(path for folder in ("common", *METHODS, "benchmarks") for path in (ROOT / folder).rglob("*.py"))

# A file imports only from lower layers, or from its own. The first pattern that matches a module counts.
LAYERS = (
    (0, r"common\.compat"),
    (0, r"common\.run_flags"),
    (1, r"common\.variables"),
    (1, r"common\.(map_arguments|orthonormal|cholesky_qr|matrices|gpus|precision|compilation|shared|late)"),
    (1, r"common\.(cluster|devices|errors|locks|orphans|probe)"),
    (1, r"opt_cp\.cayley|opt_gs\.gram_schmidt|opt_hr\.householder|opt_ls\.lowdin\w*|opt_ogd\.relative"),
    (1, r"grassmann\.geometry"),
    (2, r"common\.(exchange|replicas|kernels|losses|schedules|metrics|pictures)"),
    (2, r"opt_or\.penalty|sopt_gs\.(subset|maps)"),
    (3, r"common\.layers"),
    (4, r"common\.models\..*"),
    (4, r"common\.data\..*"),
    (5, r"common\.training\..*"),
    (5, r"opt_ogd\.ogd|grassmann\.\w*optimizers?|sopt_gs\.episodes"),
    (6, r"common\.(flags|command|resume|tasks|training_task|program|recipe|workers|launch)"),
    (6, r"common\.results\.\w+"),
    (7, r"(opt_ogd|opt_or|sopt_gs)\.method|grassmann\.(program|\w+)"),
    (8, r"\w+\.train"),
    (8, r"common\.(report|reproduce|readme)"),
    (9, r"benchmarks\.\w+"),
)


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def layer_of(module):
    for layer, pattern in sorted(LAYERS, key=lambda entry: entry[1].endswith(r"|\w+)")):
        if re.fullmatch(pattern, module):
            return layer
    raise AssertionError(f"{module} has no place in the list of layers")


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
def test_imports_only_from_lower_layers(path):
    own = layer_of(module_of(path))
    for module in imported_modules(path):
        if module.split(".")[0] in ("common", *METHODS, "benchmarks"):
            assert layer_of(module) <= own, f"{module_of(path)} (layer {own}) imports {module}"


def test_only_compat_imports_tensorflow_and_nothing_imports_keras():
    for path in SOURCES:
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert "keras" not in roots, path
        assert ("tensorflow" in roots) == (module_of(path) == "common.compat"), path
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"\btf\.(keras|layers|contrib|estimator)\b", code), path


def test_torch_is_for_comparison_only():
    for path in SOURCES:
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert not roots & {"torch", "geotorch"} or module_of(path) == "benchmarks.torch_maps", path


def test_matplotlib_is_imported_only_to_draw():
    for path in SOURCES:
        top = ast.parse(path.read_text(encoding="utf-8")).body
        imports = [node for node in top if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any("matplotlib" in ast.unparse(node) for node in imports), path


def test_train_scripts_are_short():
    for method in METHODS:
        script = ROOT / method / "train.py"
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 40, script


def test_common_knows_no_method():
    for path in (ROOT / "common").rglob("*.py"):
        assert not {module.split(".")[0] for module in imported_modules(path)} & set(METHODS), path


def test_no_assert_for_user_errors_in_the_source():
    for path in SOURCES:
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))), path
