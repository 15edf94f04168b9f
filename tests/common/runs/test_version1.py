"""Run folders of the project's first version are tested with the figures that they had, and go on.

They lie beside the repository where the project is developed; without them these tests are skipped.
"""

import importlib
import pathlib
import re
import shutil

import pytest

from common.cli import start
from common.cli.program import run

RUNS = pathlib.Path(__file__).resolve().parents[4] / "shared" / "reference" / "version1"
LENGTHS = {"opt_gs": "--max_steps=31", "opt_ogd": "--max_steps=31", "sopt_gs": "--episodes=7"}
LENGTHS["grassmann_sgdg"] = "--max_steps=31"
VALIDATION = re.compile(r"validation: cross_entropy = ([\d.]+), err = ([\d.]+) %, err_5 = ([\d.]+) %")
IMAGES = 256  # of the test set
pytestmark = pytest.mark.skipif(not RUNS.is_dir(), reason=f"no reference material in {RUNS}")


def call(name, *words):
    """Does what the command line does; returns the exit status."""
    train = importlib.import_module(f"{name.removesuffix('_sgdg')}.train")
    line, remarks = start.read(train.Settings, [*words, "--device=cpu"])
    return run(train.method(), line.settings(), remarks)


@pytest.fixture
def folder(request, tmp_path):
    """A copy of a run folder, which may be written to."""
    shutil.copytree(RUNS / request.param, tmp_path / request.param, copy_function=shutil.copyfile)
    (tmp_path / request.param).chmod(0o755)
    return tmp_path / request.param


ALL = ["opt_gs", *(pytest.param(name, marks=pytest.mark.slow) for name in ("opt_ogd", "sopt_gs", "grassmann_sgdg"))]


@pytest.mark.parametrize("folder", ALL, indirect=True)
def test_a_run_of_the_first_version_is_tested_as_it_was_and_goes_on(folder, capsys):
    expected = [float(figure) for figure in VALIDATION.findall((folder / "log.txt").read_text())[-1]]
    assert call(folder.name, "--task=test", f"--load={folder}") == 0
    out = capsys.readouterr().out
    assert out.count("--shard_maps") == 1  # it is no more
    cross_entropy, *errors = map(float, VALIDATION.search(out).groups())
    assert cross_entropy == pytest.approx(expected[0], rel=2e-3)
    assert errors == pytest.approx(expected[1:], abs=2.01 * 100 / IMAGES)

    words = [f"--flagfile={folder}/flags.txt", "--task=train", "--resume", f"--train_path={folder}"]
    assert call(folder.name, *words, LENGTHS[folder.name]) == 0
    out = capsys.readouterr().out
    assert f"goes on from {folder}/model.ckpt-29, with step 30" in out and "start afresh" not in out
    assert list(folder.glob("model.ckpt-3?.index"))
