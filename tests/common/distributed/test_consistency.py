"""Flags, code and data of several processes are compared."""

import dataclasses

import numpy as np
import pytest

from common.cli.devices import Devices
from common.data import synthetic
from common.distributed import consistency
from grassmann.settings import Settings as GrassmannSettings
from opt_gs.train import method
from opt_ogd.settings import OgdSettings
from sopt_gs.settings import EpisodeSettings

METHOD = method()
SETTINGS = METHOD.settings_class(data="synthetic", batch_size=8)
CHOSEN = Devices((None,), "CPU (2 cores)", "CPU")
PER_WORKER = """task train_dir train_path load export_dir resume worker_hosts task_index start_timeout
    collective_timeout data_dir report_freq max_to_keep device visible_devices log_device_placement
    tensorboard verbose export_format fold""".split()


@pytest.fixture(scope="module")
def dataset():
    return synthetic.load(train=16, test=8)


def name(index):
    return f"worker {index}"


def compare(*processes):
    rows = np.stack([consistency.row(items) for items in processes])
    return consistency.difference(rows, processes[0], name)


def test_the_same_is_the_same(dataset):
    again = dataclasses.replace(SETTINGS, task_index=1, worker_hosts="a:1,b:1", verbose=True, data_dir="/elsewhere")
    items = consistency.items(SETTINGS, dataset, CHOSEN), consistency.items(again, synthetic.load(16, 8), CHOSEN)
    assert compare(*items) is None and (consistency.row(items[0]) > 0).sum() > 20


def test_flags_that_differ_are_named_with_their_workers(dataset):
    others = [dataclasses.replace(SETTINGS, seed=1), SETTINGS, dataclasses.replace(SETTINGS, seed=1, weight_decay=0.1)]
    items = [consistency.items(settings, dataset, CHOSEN) for settings in (SETTINGS, *others)]
    assert compare(*items) == (
        "not the same as of worker 0: --seed of worker 1, worker 3; --weight_decay of worker 3. All workers need the "
        "same flags, code and data; give what flags.txt says to a worker that does not see the run folder"
    )


def test_a_flag_that_is_left_out_is_not_one_that_is_given(dataset):
    items = [consistency.items(dataclasses.replace(SETTINGS, loss_scale=s), dataset, CHOSEN) for s in (None, 1.0)]
    assert "--loss_scale of worker 1" in compare(*items)


def test_one_pixel_or_label(dataset):
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        array = getattr(dataset, field).copy()
        array.flat[-1] = (array.flat[-1] + 1) % 2
        other = dataclasses.replace(dataset, **{field: array})
        difference = compare(consistency.items(SETTINGS, dataset, CHOSEN), consistency.items(SETTINGS, other, CHOSEN))
        assert difference.startswith("not the same as of worker 0: the data set of worker 1."), field


def test_another_device(dataset):
    gpu = dataclasses.replace(CHOSEN, kind="GPU")
    items = [consistency.items(SETTINGS, dataset, chosen) for chosen in (CHOSEN, gpu)]
    assert "the kind of device of worker 1." in compare(*items)


def test_other_code_has_flags_of_its_own(dataset, tmp_path, monkeypatch):
    """They are then not compared: they need not be in the same places."""
    for folder, content in (("common", "x = 1\n"), ("opt_x", "y = 1\n"), ("other", "z = 1\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(content)
    (tmp_path / "opt_x" / "train.py").write_text("")
    monkeypatch.setattr(consistency, "_ROOT", tmp_path)
    before = consistency.items(SETTINGS, dataset, CHOSEN)
    (tmp_path / "other" / "module.py").write_text("z = 2\n")
    assert compare(before, consistency.items(SETTINGS, dataset, CHOSEN)) is None
    (tmp_path / "opt_x" / "module.py").write_text("y = 2\n")
    after = consistency.items(dataclasses.replace(SETTINGS, seed=1), dataset, CHOSEN)
    assert compare(before, after).startswith("not the same as of worker 0: the code of worker 1. All")


@pytest.mark.parametrize("kind", [OgdSettings, EpisodeSettings, GrassmannSettings])
def test_which_flags_may_differ(kind):
    names = set(kind.names())
    assert names - set(kind.shared_names()) == set(PER_WORKER)
    assert len(names) < consistency.SLOTS - 20
