"""Damaged and hostile files: each gives a data set or an error of one line, and touches nothing else.

A worker process reads them (see tests/fuzzing): what is run, what is written outside the folder, a crash, a hang and
memory beyond a bound all count as faults. Hypothesis makes the same files every time.
"""

import contextlib
import gzip

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzzing import files, mutations
from tests.fuzzing.driver import Reader

ALL = list(HealthCheck)

FAST = {"cifar": 30, "tar": 30, "svhn": 30}
SLOW = {"cifar": 650, "tar": 550, "svhn": 550}  # with 250 checkpoints, in tests/common/training: 2,000


def valid_set(name):
    if name == "tar":
        return {"cifar-100-python.tar.gz": gzip.compress(files.cifar_tars()[0], mtime=0)}
    return files.cifar_set() if name == "cifar" else files.svhn_set()


def strategy(name):
    return {
        "cifar": lambda: mutations.damaged(files.cifar_batches()),
        "tar": lambda: mutations.damaged_tar(files.cifar_tars()),
        "svhn": lambda: mutations.damaged_mat(files.svhn_files()),
    }[name]()


CHANGED = {"cifar": "cifar-100-python/test", "tar": "cifar-100-python.tar.gz", "svhn": "extra_32x32.mat"}


@contextlib.contextmanager
def reader(tmp_path, name):
    with Reader(tmp_path, name, valid_set(name), memory=64 << 20) as made:
        yield made


def fuzz(tmp_path, name, examples):
    with reader(tmp_path, name) as made:

        @settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=ALL)
        @given(strategy(name))
        def read(contents):
            made.read({CHANGED[name]: contents})

        read()
        assert sum(made.counts.values()) >= examples
        assert made.counts["error"] >= examples // 4, "most changes are noticed"
        return made.counts


@pytest.mark.parametrize("name", FAST)
def test_damaged_files_are_data_or_an_error_of_one_line(tmp_path, name):
    fuzz(tmp_path, name, FAST[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_many_damaged_files_are_data_or_an_error_of_one_line(tmp_path, name):
    counts = fuzz(tmp_path, name, SLOW[name])
    assert counts["data"] >= SLOW[name] // 50, "some changes do no harm"


HOSTILE = {"cifar": files.hostile_pickles, "tar": files.hostile_archives, "svhn": lambda outside: files.hostile_mats()}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_data_or_an_error_of_one_line(tmp_path, name):
    """Each of them, and all that fail in one message."""
    faults = []
    with reader(tmp_path, name) as made:
        for kind, contents in HOSTILE[name](str(tmp_path / "mark")).items():
            try:
                made.read({CHANGED[name]: contents})
            except AssertionError as error:
                faults.append(f"{kind}: {str(error)[-600:]}")
    assert not faults, "\n\n".join(faults)
    assert made.counts["error"] >= 20
