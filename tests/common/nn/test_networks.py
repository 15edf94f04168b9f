"""Architectures: names, shapes and the counts of weights that the papers' networks have."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels
from common.nn.layers import BatchNormConstants, Mode
from common.nn.names import network_name
from common.nn.networks import network

CONSTANTS = BatchNormConstants(0.9, 1e-5, False)


def build(name, classes=10, factory=kernels.plain(), first=None, side=32, **options):
    """Returns the logits of the training pass and {scope: `Kernel`}."""
    of_network = network(name, **options)
    plan = kernels.plan(of_network, classes, (side, side, 3), Mode(False, CONSTANTS))
    found = kernels.build(plan, kernels.by_place(factory, first))
    tensors = kernels.given({scope: kernel.tensor for scope, kernel in found.items()})
    mode = Mode(True, CONSTANTS, None, variables.global_step() + 0)
    return of_network(tf.zeros([2, side, side, 3]), classes, tensors, mode), found


def shapes(*roles):
    return {variable.op.name: variable.shape.as_list() for variable in variables.with_role(*roles)}


def count(*roles):
    return sum(int(np.prod(shape)) for shape in shapes(*roles).values())


@pytest.mark.parametrize(("name", "expected"), [("cnn6", 257_984), ("cnn9", 2_992_832)])
def test_ordinary_weights_of_the_papers_networks(name, expected):
    assert build(name, classes=100)[0].shape.as_list() == [2, 100]
    assert count(Role.WEIGHT) == expected


def test_degrees_of_freedom_of_opt_on_cnn6():
    _, found = build("cnn6", classes=100, factory=kernels.rotated(tf.matmul))
    assert sum(kernel.degrees_of_freedom for kernel in found.values()) == 1_358_527


def test_names_of_cnn6():
    build("cnn6", factory=kernels.rotated(tf.matmul))
    names = shapes(*Role)
    layers = [f"conv{stage}_{index}" for stage in (1, 2, 3) for index in (0, 1)]
    expected = {f"{layer}/{kind}" for layer in [*layers, "fc6"] for kind in ("fix", "rotation")}
    expected |= {f"{layer}/bn/{kind}" for layer in layers for kind in ("gamma", "beta", "pop_mean", "pop_var")}
    assert set(names) == expected | {"score/filter", "global_step"}
    assert names["conv1_0/fix"] == [27, 64] and names["fc6/rotation"] == [1024, 1024]


@pytest.mark.parametrize(("side", "left"), [(32, 4), (28, 4), (27, 4), (33, 5), (40, 5), (8, 1), (5, 1)])
@pytest.mark.parametrize("name", ["cnn6", "cnn9"])
def test_the_last_conv_covers_what_pools_leave_of_any_side(name, side, left):
    logits, found = build(name, widths=(2, 2, 2, 3), side=side)
    assert found["fc6"].tensor.shape.as_list() == [left, left, 2, 3] and logits.shape.as_list() == [2, 10]


@pytest.mark.parametrize(("name", "side"), [("resnet", 9), ("resnet", 50), ("vgg11", 32), ("vgg11", 50)])
def test_other_networks_take_sides_that_are_no_powers_of_two(name, side):
    assert build(name, depth=10, widen_factor=1, side=side)[0].shape.as_list() == [2, 10]
    with pytest.raises(ValueError, match="they need 32 x 32 pixels or more, not 31 x 31"):
        build("vgg11", side=31)


def test_widths_of_cnn6():
    build("cnn6", widths=(8, 16, 24, 32))
    names = shapes(Role.WEIGHT)
    assert [names[f"{layer}/weight"][-1] for layer in ("conv1_1", "conv2_1", "conv3_1", "fc6")] == [8, 16, 24, 32]


def test_only_the_first_conv_gets_the_first_kernel():
    for name, options in (("cnn6", {}), ("resnet", {"depth": 10, "widen_factor": 1}), ("vgg11", {})):
        with tf.Graph().as_default():
            build(name, factory=kernels.plain(name="other"), first=kernels.plain(name="first"), **options)
            first = [variable for variable in shapes(Role.WEIGHT) if variable.endswith("/first")]
            assert len(first) == 1 and first == list(shapes(Role.WEIGHT))[:1]


def test_wide_residual_network_of_the_paper_has_36_5_million_weights():
    build("resnet", depth=28, widen_factor=10)
    assert round(count(Role.WEIGHT, Role.BIAS, Role.GAMMA, Role.BETA) / 1e6, 1) == 36.5


@pytest.mark.parametrize(("depth", "widen"), [(11, 1), (4, 1), (28, 0)])
def test_impossible_residual_networks_are_refused(depth, widen):
    with pytest.raises(ValueError, match=f"not {depth if widen else widen}"):
        build("resnet", depth=depth, widen_factor=widen)


def test_unknown_network():
    with pytest.raises(ValueError, match="no network 'cnn7'"):
        network("cnn7")


def test_titles():
    assert network_name("resnet", 28, 10) == "WRN-28-10"
    assert network_name("cnn6") == "CNN-6" and network_name("vgg11") == "VGG-11"
