"""The pictures of --task=see --verbose against NumPy."""

import dataclasses
import pathlib

import numpy as np
import pytest

from common.cli.program import run
from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels
from common.nn.kernels import Layer, Plan
from common.training import filters
from grassmann.program import Grassmann, Settings
from opt_cp.cayley import cayley
from opt_cp.train import method
from tests import runs
from tests.oracles import cayley as oracle

GRASSMANN = Grassmann()
METHOD = method()
SMALL = METHOD.settings_class(data="synthetic", widths=(5, 4, 4, 4), batch_size=8, task="see", verbose=True)


def read(path):
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.decode_png(path.read_bytes())).astype(int)


def drawn(values, largest):
    """What a picture of kernels [3, 3, 3, m] is to be: 48 pixels each, 3 between them."""
    count = values.shape[-1]
    columns = int(np.ceil(count**0.5))
    rows = int(np.ceil(count / columns))
    expected = np.zeros([3 + 51 * rows, 3 + 51 * columns, 3])
    for i in range(count):
        shade = 127.5 * (1 + np.kron(values[..., i].astype(float), np.ones([16, 16, 1])) / largest)
        row, column = divmod(i, columns)
        expected[3 + 51 * row : 51 + 51 * row, 3 + 51 * column : 51 + 51 * column] = shade
    return expected


def built(scope, shape, factory):
    return kernels.build(Plan((Layer(scope, shape),), (scope,)), lambda layer: factory)


def test_before_and_after_the_rotation(tmp_path):
    found = built("group/conv", (3, 3, 3, 5), kernels.rotated(cayley))
    generator, fixed = variables.with_role(Role.GENERATOR)[0], variables.with_role(Role.FIXED)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        line, *_ = filters.draw(session, found, str(tmp_path), "name")
        generator, fixed = session.run([generator, fixed])
    assert line.startswith("first layer group/conv, 5 filters of 3 x 3 x 3, 16 times as large")
    check(tmp_path / "name_group_conv", generator, fixed)


def check(start, generator, fixed):
    """Compares the two pictures whose paths begin with `start` with those of float64 kernels."""
    rotated = oracle.rotation(generator) @ fixed
    largest = max(np.abs(fixed).max(), np.abs(rotated).max())
    before, after = (read(start.parent / f"{start.name}_{kind}.png") for kind in ("before", "after"))
    np.testing.assert_allclose(before, drawn(fixed.reshape(3, 3, 3, 5), largest), atol=0.51)
    np.testing.assert_allclose(after, drawn(rotated.reshape(3, 3, 3, 5), largest), atol=0.51)
    assert np.abs(before - after).max() > 20


@pytest.mark.slow
def test_before_and_after_the_rotation_of_a_trained_network(tmp_path, capsys):
    """Two updates, then what is in their checkpoint, with Q from NumPy."""
    training = dataclasses.replace(SMALL, task="train", max_steps=2, train_path=str(tmp_path / "run"))
    assert run(METHOD, training) == 0
    before = sorted(tmp_path.joinpath("run").iterdir())
    see = dataclasses.replace(SMALL, load=str(tmp_path / "run"), train_dir=str(tmp_path / "see"))
    assert run(METHOD, see) == 0
    out = capsys.readouterr().out
    assert sorted(tmp_path.joinpath("run").iterdir()) == before
    name = "run_model.ckpt-1_conv1_0"
    paths = [tmp_path / "see" / f"{name}_{kind}.png" for kind in ("before", "after")]
    assert sorted(tmp_path.joinpath("see").iterdir()) == sorted(paths)
    assert f"before the rotation, W0: {paths[0]}" in out and f"after the rotation, Q @ W0: {paths[1]}" in out
    saved = runs.contents(tmp_path / "run")
    check(tmp_path / "see" / name, saved["conv1_0/rotation"], saved["conv1_0/fix"])


def test_an_ordinary_kernel_is_one_picture_and_without_verbose_there_is_none(tmp_path, capsys):
    options = {"data": "synthetic", "model": "resnet", "task": "see", "grassmann": True, "train_dir": str(tmp_path)}
    assert run(GRASSMANN, Settings(**options, verbose=False)) == 0
    assert list(tmp_path.iterdir()) == []
    assert run(GRASSMANN, Settings(**options)) == 0
    assert "first layer group1/conv0, 16 filters of 3 x 3 x 3" in capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert path.name == "resnet_see_synthetic_group1_conv0_kernel.png"
    assert read(path).shape == (207, 207, 3)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write .*file/x.png: File exists; choose another --train_dir") as error:
        filters._write(str(pathlib.Path(tmp_path, "file", "x")), b"")
    assert "\n" not in str(error.value)


def test_the_picture_of_another_run_is_not_overwritten(tmp_path):
    paths = [filters._write(str(tmp_path / "see" / "x"), content) for content in (b"1", b"2", b"1", b"3", b"2")]
    names = [pathlib.Path(path).name for path in paths]
    assert names == ["x.png", "x-2.png", "x.png", "x-3.png", "x-2.png"]
    assert [path.read_bytes() for path in sorted((tmp_path / "see").iterdir())] == [b"2", b"3", b"1"]


def test_a_first_layer_without_colours_is_told(tmp_path):
    found = built("conv", (3, 3, 2, 4), kernels.plain())
    (line,) = filters.draw(None, found, str(tmp_path), "x")
    assert "4 filters of 3 x 3 x 2: not drawn" in line and list(tmp_path.iterdir()) == []
