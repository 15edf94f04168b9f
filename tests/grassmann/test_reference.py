"""Metrics of the original program: its trajectory, its checkpoint, its data format.

The material lies beside the repository where the project is developed; without it these tests are skipped.
"""

import json
import pathlib
import zlib

import numpy as np
import pytest

from common.cli import start
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.graph.variables import Role
from common.runs import checkpoints
from common.training import problem
from common.training.evaluation import Evaluation
from grassmann.program import Grassmann, Settings

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference"
CHECKPOINT = REFERENCE / "wrn-10-1_sgdg_cifar10" / "model.ckpt-79"
OF_PAPER = {
    "model": "resnet", "optimizer": "sgdg", "grassmann": True, "learnRate": 0.01, "learnRateG": 0.2, "omega": 0.1,
    "grad_clip": 0.1, "weightDecay": 5e-4,
}  # fmt: skip
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference material in {REFERENCE}")


def start_of(variable):
    shape = variable.shape.as_list()
    generator = np.random.RandomState(zlib.crc32(variable.op.name.encode()) & 0x7FFFFFFF)
    values = generator.randn(*shape).astype(np.float32)
    if variables.role_of(variable) is Role.UNIT_KERNEL:
        return values / np.sqrt(np.sum(values**2, axis=tuple(range(values.ndim - 1)), keepdims=True))
    return values * np.sqrt(2.0 / np.prod(shape[:-1]))


def test_trajectory_of_sgdg():
    """Losses of five steps, the evaluation after them, and the norm of every variable and slot."""
    expected = json.loads((REFERENCE / "trajectories" / "grassmann_wrn_sgdg.json").read_text())
    generator = np.random.RandomState(11)
    images, labels = generator.randn(5, 32, 32, 32, 3), generator.randint(0, 10, (5, 32))
    sizes = {"widen_factor": 2, "batch_size": 32, "vali_batch_size": 32, "max_steps": 1000, "bn_decay": 0.99}
    flags = Settings(data="cifar10", **sizes, **OF_PAPER)
    dataset = synthetic.load(train=32, test=32)
    object.__setattr__(dataset, "name", "cifar10")
    task = Grassmann().problem(flags, dataset)
    training, evaluation = problem.build(task), Evaluation(task)
    cross_entropy = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=evaluation.labels, logits=evaluation.logits)
    )
    units = {variable.op.name for variable in variables.with_role(Role.UNIT_KERNEL)}
    assert units == set(expected["grassmann"])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables.with_role(Role.WEIGHT, Role.UNIT_KERNEL):
            session.run(variable.initializer, {variable.initializer.inputs[1]: start_of(variable)})
        for step in range(5):
            feeds = {training.images: images[step], training.labels: labels[step]}
            loss, fit, _ = session.run([training.loss, training.fit, training.train_op], feeds)
            tolerance = 1e-4 if step < 2 else 1e-3
            assert loss == pytest.approx(expected["loss"][step], rel=tolerance)
            assert fit == pytest.approx(expected["ce"][step], rel=tolerance)
        feeds = {evaluation.images: images[0], evaluation.labels: labels[0]}
        assert session.run(cross_entropy, feeds) == pytest.approx(expected["eval_ce"], rel=1e-3)
        saved = {variable.op.name: variable for variable in variables.saved()}
        assert set(saved) == set(expected["norm"])
        for name, value in session.run(saved).items():
            assert list(value.shape) == expected["shape"][name], name
            assert np.linalg.norm(value) == pytest.approx(expected["norm"][name], rel=2e-2, abs=1e-4), name


def call(*arguments):
    """Does in this process what train.py does with a command line."""
    line, remarks = start.read(Settings, arguments)
    assert run(Grassmann(), line.settings(), remarks) == 0


def test_command_line_gives_the_metrics_of_the_original_for_its_checkpoint(capsys):
    call(
        "--task=test", "--model=resnet", "--depth=10", "--widen_factor=1", "--data=cifar10", "--device=cpu",
        f"--data_dir={REFERENCE / 'datasets'}", f"--load={CHECKPOINT}", "--vali_batch_size=397",
    )  # fmt: skip
    assert "validation: cross_entropy = 1.6957, err = 65.2393 %, err_5 = 6.8010 % (" in capsys.readouterr().out


def reference_task(vali_batch_size):
    from common.data import datasets

    dataset = datasets.load("cifar10", str(REFERENCE / "datasets"))
    flags = Settings(data="cifar10", batch_size=32, vali_batch_size=vali_batch_size, **OF_PAPER)
    return Grassmann().problem(flags, dataset)


def test_the_same_metrics_with_any_vali_batch_size():
    for size in (100, 250, 1000):
        with tf.Graph().as_default():
            evaluation = Evaluation(reference_task(size))
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                evaluation.store.fill(session)
                checkpoints.load(session, str(CHECKPOINT), checkpoints.model_variables())
                metrics = evaluation.metrics(session)
        assert str(metrics) == "cross_entropy = 1.6957, err = 65.2393 %, err_5 = 6.8010 %", size


def test_training_goes_on_from_it_with_every_slot():
    training = problem.build(reference_task(100))
    model = checkpoints.model_variables()
    slots = [variable for variable in variables.saved() if variable not in set(model)]
    reader = tf.train.load_checkpoint(str(CHECKPOINT))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for store in training.stores:
            store.fill(session)
        assert checkpoints.load(session, str(CHECKPOINT), model, slots) == []
        assert {variable.op.name for variable in model + slots} == set(reader.get_variable_to_shape_map())
        for name, value in session.run({variable.op.name: variable for variable in slots}).items():
            np.testing.assert_array_equal(value, reader.get_tensor(name), err_msg=name)
        assert session.run(training.global_step) == 80
        session.run(training.train_op)
        assert session.run(training.global_step) == 81


@pytest.mark.slow
def test_command_line_resumes_from_it(tmp_path):
    call(
        "--task=train", *(f"--{name}={value}" for name, value in OF_PAPER.items()), "--data=cifar10", "--max_steps=83",
        f"--data_dir={REFERENCE / 'datasets'}", f"--load={CHECKPOINT}", f"--train_path={tmp_path / 'run'}",
        "--report_freq=1", "--device=cpu",
    )  # fmt: skip
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "step 80, fit" in log and "step 82, validation: cross_entropy" in log and "step 79" not in log
    assert "start afresh" not in log
    assert (tmp_path / "run" / "model.ckpt-82.index").is_file()


@pytest.mark.parametrize(
    "flags, classes, words",
    [
        ({"depth": 16}, 10, "group2_block1/layer1_in_block/batch_norm/beta \\[16\\] is not in it"),
        ({"widen_factor": 2}, 10, "conv/weight is \\[3, 3, 16, 16\\] there and \\[3, 3, 16, 32\\] here"),
        ({"model": "vgg11"}, 10, "GROUP0_0/conv/weight \\[3, 3, 3, 64\\] is not in it"),
        ({}, 100, "fc/output/weight is \\[64, 10\\] there and \\[64, 100\\] here"),
    ],
)
def test_another_network_is_refused_by_name_and_shape(flags, classes, words):
    flags = Settings(data="synthetic", batch_size=8, **{**OF_PAPER, **flags})
    Evaluation(Grassmann().problem(flags, synthetic.load(train=classes, test=classes, classes=classes)))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match=words) as error:
            checkpoints.load(session, str(CHECKPOINT), checkpoints.model_variables())
    assert "\n" not in str(error.value)
