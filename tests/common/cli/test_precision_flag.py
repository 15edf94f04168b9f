"""--precision=auto and tf32, as far as a CPU shows them."""

import dataclasses

import numpy as np
import pytest

from common.cli import devices, program
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.distributed import consistency
from common.graph import precision
from opt_gs.train import method

METHOD = method()
ORDINARY = {"rotation": "none", "base_lr": 0.01}
SMALL = {"data": "synthetic", "widths": (4, 4, 4, 4), "batch_size": 8, "max_steps": 2, **ORDINARY}


@pytest.fixture(autouse=True)
def off_again():
    """The switch is the process's."""
    yield
    precision.switch("float32")


def is_on():
    return tf.compat.v2.config.experimental.tensor_float_32_execution_enabled()


def settings(path, **options):
    return METHOD.settings_class(**SMALL, train_path=str(path), **options)


def test_auto_says_what_it_chooses_and_a_resume_keeps_what_the_run_began_with(tmp_path, monkeypatch, capsys):
    run(METHOD, settings(tmp_path / "a", precision="auto"))
    assert "--precision=auto: float32\n" in (tmp_path / "a" / "log.txt").read_text() and not is_on()
    assert "--precision=float32\n" in (tmp_path / "a" / "flags.txt").read_text()

    monkeypatch.setattr(precision, "chosen", lambda name: "tf32")
    run(METHOD, settings(tmp_path / "b", precision="auto"))
    log = (tmp_path / "b" / "log.txt").read_text()
    assert "--precision=auto: tf32\n" in log and "TensorFloat-32: the network's products, in validations, too" in log
    assert "--precision=tf32\n" in (tmp_path / "b" / "flags.txt").read_text() and is_on()

    monkeypatch.undo()
    longer = dataclasses.replace(settings(tmp_path / "b", precision="auto", resume=True), max_steps=3)
    run(METHOD, longer)
    assert "--precision=auto: tf32, as the run began" in (tmp_path / "b" / "log.txt").read_text()
    assert "--precision=tf32\n" in (tmp_path / "b" / "flags.txt").read_text() and is_on()

    assert run(METHOD, settings(tmp_path / "b", precision="tf32", task="test", load=str(tmp_path / "b"))) == 0
    assert not is_on(), "a checkpoint's figures do not depend on the device"


def test_workers_whose_auto_chooses_differently_refuse(monkeypatch):
    rows, dataset, chosen = [], synthetic.load(train=16, test=8), devices.Devices((None,), "a GPU", "GPU")
    for name in ("float32", "tf32"):
        monkeypatch.setattr(precision, "chosen", lambda asked, name=name: name)
        asked = METHOD.settings_class(**SMALL, precision="auto")
        items = consistency.items(program._with_precision(asked, "")[0], dataset, chosen)
        rows.append(consistency.row(items))
    difference = consistency.difference(np.stack(rows), items, lambda index: f"worker {index}")
    assert difference.startswith("not the same as of worker 0: --precision of worker 1.")
