"""The examples run, and the README shows them as they are (see also tests/test_readme.py)."""

import pathlib
import re
import runpy

import pytest

FOLDER = pathlib.Path(__file__).parent
README = FOLDER.parents[1] / "README.md"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("test_"))


def printed(name, capsys):
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_readme_shows_the_file(path):
    programs = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert path.read_text(encoding="utf-8") in programs


def test_rotated_kernels(capsys):
    """Training lowers the loss and leaves the energies as they are."""
    output = printed("rotated_kernels.py", capsys)
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", output)]
    assert len(losses) == 5 and losses[0] < 0.7 and losses[-1] < 0.1 * losses[0]
    before, after = (re.search(rf"energies {when}: +(.*)", output).group(1).split() for when in ("before", "after"))
    assert len(before) == 3 and [float(energy) for energy in after] == pytest.approx(list(map(float, before)), rel=1e-5)
    distances = re.search(r"orthogonal matrix: (.*)", output).group(1).split()
    assert len(distances) == 3 and all(float(distance) < 1e-4 for distance in distances)
    assert "100% right" in output


def test_metrics_alone(capsys):
    output = printed("metrics_alone.py", capsys)
    energy, turned = (float(re.search(rf"{word} (\d\.\d+)", output).group(1)) for word in ("energy", "turned"))
    assert energy == turned and 0.70 < energy < 0.72  # random directions are nearly 2^(1/2) apart
    assert float(re.search(r"I\|\| = (\S+)", output).group(1)) < 1e-12
    assert 40 < float(re.search(r"top-5 error (\S+)%", output).group(1)) < 60  # five of ten
