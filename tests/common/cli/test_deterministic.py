"""--deterministic: runs repeat bit for bit, and what cannot repeat is one line before the first step."""

import dataclasses

import pytest
from tensorflow.python.util import _pywrap_determinism

from common.cli import devices, recipe
from common.cli.program import run
from common.compat import tf
from common.training import problem
from grassmann.train import method as grassmann
from tests import runs

METHODS = recipe.methods()
SMALL = {"data": "synthetic", "batch_size": 8, "max_steps": 4, "save_freq": 2, "deterministic": True}


@pytest.fixture(autouse=True)
def off_again():
    """The switch is the process's."""
    yield
    _pywrap_determinism.enable(False)


def small(program, **options):
    widths = {"widths": (4, 4, 4, 4)} if program in METHODS.values() else {"model": "resnet", "optimizer": "adamg"}
    return program.settings_class(**SMALL, **widths, **options)


@pytest.mark.slow
def test_two_runs_and_one_that_was_stopped_end_with_the_same_bits_and_every_task_runs(tmp_path):
    program = METHODS["opt_gs"]
    for name in ("first", "second"):
        assert run(program, small(program, train_path=str(tmp_path / name))) == 0
    assert _pywrap_determinism.is_enabled()
    stopped = {"load": str(tmp_path / "first" / "model.ckpt-1"), "train_path": str(tmp_path / "third")}
    assert run(program, small(program, **stopped)) == 0
    first, *others = [runs.contents(tmp_path / name / "model.ckpt-3") for name in ("first", "second", "third")]
    for other in others:
        assert len(first) > 40
        runs.assert_equal(other, first)
    load = {"load": str(tmp_path / "first"), "train_path": str(tmp_path / "task")}
    for task in ("test", "see"):
        assert run(program, small(program, task=task, **load)) == 0
    assert run(program, small(program, task="export", export_dir=str(tmp_path / "export"), **load)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("program", [*METHODS.values(), grassmann()], ids=[*METHODS, "grassmann"])
def test_every_method_trains(program, tmp_path):
    assert run(program, small(program, train_path=str(tmp_path / "run"))) == 0


def test_several_gpus_are_refused():
    several = devices.Devices(("/gpu:0", "/gpu:1"), "2 GPUs", "GPU", gpus=2)
    with pytest.raises(ValueError, match="--deterministic: 2 GPUs would share each batch.*; train on one"):
        several.be_deterministic()
    assert not _pywrap_determinism.is_enabled()


def test_an_operation_without_a_deterministic_kernel_is_one_line():
    class Refusing:
        def run(self, fetches):
            raise tf.errors.UnimplementedError(None, None, "A deterministic GPU implementation of X is not\navailable.")

    training = dataclasses.make_dataclass("Training", ["health"])(problem.Health(None, (), {}))
    with pytest.raises(ValueError, match="--deterministic: A deterministic GPU implementation of X is not.*leave"):
        problem.try_out(Refusing(), training)
