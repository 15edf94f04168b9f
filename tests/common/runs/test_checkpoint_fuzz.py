"""Damaged checkpoints, with no sum beside them as the original program has them: values, or an error of one line."""

import pytest
from hypothesis import strategies as st

from tests.fuzzing import driver, files, mutations

INDEX, DATA = "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"


def fuzz(tmp_path, examples):
    (tmp_path / "made").mkdir()
    valid = files.checkpoint_set(tmp_path / "made")
    assert sorted(valid) == sorted([INDEX, DATA])
    (tmp_path / "box").mkdir()
    index = mutations.damaged([valid[INDEX]]).map(lambda contents: {INDEX: contents})
    data = mutations.damaged([valid[DATA]]).map(lambda contents: {DATA: contents})
    with driver.Reader(tmp_path / "box", "checkpoint", valid, memory=1 << 30) as reader:
        driver.fuzz(reader, st.one_of(index, index, data), examples, examples // 2)


def test_damaged_checkpoints_are_values_or_an_error_of_one_line(tmp_path):
    fuzz(tmp_path, 6)


@pytest.mark.slow
def test_many_damaged_checkpoints_are_values_or_an_error_of_one_line(tmp_path):
    fuzz(tmp_path, 250)
