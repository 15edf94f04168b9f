"""The program of the guide runs as it stands, with either kind of variable."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("argument, kind", [([], "ResourceVariable"), (["--reference_variables"], "RefVariable")])
def test_guide_program_trains_and_stays_on_the_manifold(argument, kind, tmp_path):
    program = ROOT / "tests" / "grassmann" / "guide_program.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    output = subprocess.run(
        [sys.executable, str(program), *argument],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", output)]
    assert len(losses) == 5 and losses[0] < 0.7 and losses[-1] < 0.1 * losses[0]
    assert float(re.search(r"from 1: (\S+)", output).group(1)) < 1e-6
    assert f"kind of variable: {kind}" in output
