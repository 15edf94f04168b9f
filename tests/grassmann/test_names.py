"""Names and shapes of everything in a checkpoint: those of the original program, whose checkpoints have to load."""

import json
import pathlib

import pytest

from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.training import problem
from grassmann.program import Grassmann, Settings

REFERENCE = pathlib.Path(__file__).parents[3] / "shared" / "reference"
SHARED = {"global_step": []}
POWERS = {"beta1_power": [], "beta2_power": []}


def batch_norm(scope, width, *trained):
    """Names of a batch normalization: what is trained and the slots of momentum SGD, moving mean and variance."""
    names = [name for kind in trained for name in (kind, f"{kind}/Momentum")]
    return {f"{scope}/{name}": [width] for name in [*names, "pop_mean", "pop_var"]}


def euclidean(name, *shape):
    return {name: list(shape), f"{name}/Momentum": list(shape)}


def sgd_g(name, *shape):
    return {name: list(shape), f"{name}/SgdgOptimizer": list(shape)}


def adam_g(name, *shape):
    return {name: list(shape), f"{name}/Adamg": list(shape), f"{name}/Adamg_1": [1, 1, 1, shape[-1]]}


def resnet_10_1(classes):
    """The wide residual network of depth 10 and widen factor 1, trained by SGD-G."""
    names = {**SHARED, **sgd_g("group1/conv0/weight", 3, 3, 3, 16)}
    for group, before, width in ((2, 16, 16), (3, 16, 32), (4, 32, 64)):
        block = f"group{group}_block0"
        for layer, inputs in ((1, before), (2, width)):
            names |= batch_norm(f"{block}/layer{layer}_in_block/batch_norm", inputs, "beta", "gamma")
            names |= sgd_g(f"{block}/layer{layer}_in_block/conv/weight", 3, 3, inputs, width)
        if before != width:
            names |= euclidean(f"{block}/projection/weight", 1, 1, before, width)
    names |= batch_norm("fc/batch_norm", 64, "beta", "gamma")
    return names | euclidean("fc/output/weight", 64, classes) | euclidean("fc/output/bias", classes)


def vgg11(classes):
    """VGG-11, trained by Adam-G: groups and layers count from 0, and the first conv (27 < 64) is Euclidean."""
    names, inputs = {**SHARED, **POWERS}, 3
    for group, (width, convs) in enumerate(zip((64, 128, 256, 512, 512), (1, 1, 2, 2, 2))):
        for index in range(convs):
            scope = f"GROUP{group}_{index}"
            names |= (euclidean if inputs == 3 else adam_g)(f"{scope}/conv/weight", 3, 3, inputs, width)
            names |= batch_norm(f"{scope}/batch_norm", width, "beta")
            inputs = width
    for index in (0, 1):
        names |= euclidean(f"fc{index}/weight", 512, 512) | batch_norm(f"fc{index}", 512, "beta")
    return names | euclidean("fc2/weight", 512, classes) | euclidean("fc2/bias", classes)


def saved(classes, **flags):
    settings = Settings(data="synthetic", grassmann=True, batch_size=2, max_steps=1, **flags)
    problem.build(Grassmann().problem(settings, synthetic.load(train=classes, test=classes, classes=classes)))
    return {variable.op.name: variable.shape.as_list() for variable in variables.saved()}


def test_resnet():
    expected = resnet_10_1(classes=10)
    assert saved(10, model="resnet", optimizer="sgdg") == expected
    if REFERENCE.is_dir():
        reader = tf.train.load_checkpoint(str(REFERENCE / "wrn-10-1_sgdg_cifar10" / "model.ckpt-79"))
        assert reader.get_variable_to_shape_map() == expected


def test_vgg():
    expected = vgg11(classes=100)
    assert saved(100, model="vgg11", optimizer="adamg") == expected
    if REFERENCE.is_dir():
        assert json.loads((REFERENCE / "vgg11_names.json").read_text()) == expected


@pytest.mark.parametrize("depth, last", [(13, "GROUP4_1"), (16, "GROUP4_2"), (19, "GROUP4_3")])
def test_deeper_vggs_have_more_layers_in_the_same_groups(depth, last):
    with tf.Graph().as_default():
        names = saved(10, model=f"vgg{depth}", optimizer="sgdg")
    convs = sorted(name for name in names if name.endswith("conv/weight"))
    assert convs[0] == "GROUP0_0/conv/weight" and convs[-1] == f"{last}/conv/weight"
    assert len(convs) == depth - 3 and names[f"{last}/conv/weight"] == [3, 3, 512, 512]
