"""The recipe: what is on the manifold, what the loss consists of, how rates fall, and where each flag ends."""

import dataclasses

import numpy as np
import pytest

from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.graph.variables import Role
from common.training import problem
from common.training.step import check_coverage
from grassmann import program
from grassmann.program import Grassmann
from grassmann.settings import OPTIMIZERS, Settings
from tests.oracles import riemannian_steps, sphere


def settings(**flags):
    flags = {"data": "synthetic", "model": "resnet", "optimizer": "sgdg", "grassmann": True, "batch_size": 8, **flags}
    return Settings(**{"max_steps": 10, **flags})


def small(train=16, test=4, **other):
    return synthetic.load(train=train, test=test, **other)


def build(flags, dataset=None, dtype=tf.float32):
    return problem.build(Grassmann().problem(flags, dataset or small()), dtype=dtype)


def named_like(count, name="cifar10"):
    """A data set of `count` training images that costs no memory."""
    images, labels = np.zeros([1, 32, 32, 3], np.uint8), np.zeros([1], np.int32)
    dataset = dataclasses.replace(small(), name=name)
    object.__setattr__(dataset, "train_images", np.broadcast_to(images, [count, 32, 32, 3]))
    object.__setattr__(dataset, "train_labels", np.broadcast_to(labels, [count]))
    return dataset


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("grassmann", [False, True])
def test_each_variable_has_exactly_one_optimizer(optimizer, grassmann):
    (groups,) = build(settings(optimizer=optimizer, grassmann=grassmann)).groups
    members = [variable for _, group in groups for variable in group]
    check_coverage(members, variables.trainable())
    kinds = [type(taker).__name__ for taker, group in groups if group]
    manifold = {"sgdg": ["SgdG"], "adamg": ["AdamG"], "sgd": []}[optimizer] if grassmann else []
    assert kinds == ["MomentumOptimizer"] + manifold
    assert all(variables.role_of(variable) is Role.UNIT_KERNEL for taker, group in groups[1:] for variable in group)
    assert bool(variables.with_role(Role.UNIT_KERNEL)) is grassmann
    said = list(Grassmann().remarks(settings(optimizer=optimizer, grassmann=grassmann)))
    assert bool(said) is ((optimizer == "sgd") is grassmann)


def test_penalty_against_numpy():
    coefficients = {"weightDecay": 0.3, "biasDecay": 0.5, "gammaDecay": 0.7, "betaDecay": 1.1, "omega": 0.2}
    training = build(settings(**coefficients), dtype=tf.float64)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        rng = np.random.RandomState(0)
        values = {variable: rng.randn(*variable.shape.as_list()) for variable in variables.trainable()}
        for variable, value in values.items():
            session.run(variable.initializer, {variable.initializer.inputs[1]: value})
        actual = session.run(training.regularisation)
    expected = 0.0
    for variable, value in values.items():
        kind = variable.op.name.rpartition("/")[2]
        if kind == "weight" and value.ndim == 4 and value.shape[0] > 1:
            matrix = value.reshape(-1, value.shape[-1])
            expected += 0.2 / 2 * np.sum((matrix.T @ matrix - np.eye(matrix.shape[1])) ** 2)
        else:
            expected += coefficients[f"{kind}Decay"] / 2 * np.sum(value**2)
    assert actual == pytest.approx(expected, rel=1e-10)


def test_no_penalty_unless_asked_for():
    training = build(settings(optimizer="sgd", grassmann=False, omega=0.1))
    with tf.Session() as session:
        assert session.run(training.regularisation) == 0.0


@pytest.mark.parametrize(
    "name, images, batch, steps, drops",
    [
        ("cifar10", 50_000, 128, 78_125, (23_438, 46_876, 62_501)),
        ("cifar100", 50_000, 100, 100_000, (30_001, 60_001, 80_001)),
        ("cifar10", 1_400, 128, 2_187, (657, 1_313, 1_751)),
        ("svhn", 604_388, 128, 755_485, (283_307, 566_614)),
    ],
)
def test_paper_schedule_follows_images_and_batch(name, images, batch, steps, drops):
    flags, dataset = settings(data=name, batch_size=batch, max_steps=None), named_like(images, name)
    schedule = program.schedule(flags, dataset)
    assert (schedule.steps, schedule.boundaries, schedule.factor) == (steps, drops, 0.2)
    assert Grassmann().steps(flags, dataset) == steps
    shorter = program.schedule(dataclasses.replace(flags, max_steps=steps // 10), dataset)
    assert shorter.steps == steps // 10
    np.testing.assert_allclose(shorter.boundaries, np.array(drops) / 10, atol=2)


@pytest.mark.parametrize("model, steps, drops", [("resnet", 80, (25, 49, 65)), ("vgg19", 20, (7, 13, 17))])
def test_short_runs_have_the_shape_of_the_papers(model, steps, drops):
    schedule = program.schedule(settings(model=model, max_steps=None), small(train=16))
    assert (schedule.steps, schedule.boundaries) == (steps, drops)


def test_scale_and_warm_up_reach_both_rates():
    flags = settings(
        data="cifar10", batch_size=512, lr_scale="linear", warmup_steps=3, learnRate=0.1, learnRateG=0.4, max_steps=20
    )
    step = tf.placeholder(tf.int64, [])
    rates = Grassmann().rates(flags, named_like(1_000, "cifar10"), step)  # drops to a fifth at 6, 12, 16; from the next
    with tf.Session() as session:
        actual = [session.run(rates, {step: number}) for number in (0, 1, 2, 3, 6, 7)]
    for name, base in (("lr", 0.1), ("learnRateG", 0.4)):
        expected = base * np.array([2, 3, 4, 4, 4, 0.8])  # 512 images are four times the recipe's 128
        np.testing.assert_allclose([rate[name] for rate in actual], expected, rtol=1e-12)


def test_rates_drop_at_the_first_step_after_a_boundary():
    flags = settings(data="cifar10", batch_size=128, max_steps=None, learnRate=0.1, learnRateG=0.4, learnRateDecay=0.5)
    step = tf.placeholder(tf.int64, [])
    rates = Grassmann().rates(flags, named_like(50_000), step)
    with tf.Session() as session:
        for at, drops in ((0, 0), (23_437, 0), (23_438, 1), (46_875, 1), (46_876, 2), (62_501, 3), (78_124, 3)):
            values = session.run(rates, {step: at})
            assert values == pytest.approx({"lr": 0.1 * 0.5**drops, "learnRateG": 0.4 * 0.5**drops}), at


def test_batch_size_and_name_are_resolved_from_the_data():
    resolved = Grassmann().resolve(Settings(model="vgg13", optimizer="sgd"), named_like(8, "cifar100"))
    assert (resolved.batch_size, resolved.padding_size, resolved.data) == (128, 4, "cifar100")
    assert Grassmann().run_name(resolved) == "vgg13_train_cifar100_sgd"
    assert Grassmann().resolve(Settings(model="vgg13", optimizer="sgd"), small()).batch_size == 32
    assert Grassmann().resolve(Settings(model="vgg13", optimizer="sgd", batch_size=7), small()).batch_size == 7


def test_averages_of_a_short_run_forget_what_came_before_the_last_drop():
    """The drop is at the first update after 160 of 200 epochs of 10 batches."""
    flags = {"model": "resnet", "optimizer": "sgd"}
    cifar, short = named_like(50_000, "cifar10"), named_like(1280, "cifar10")
    for dataset, steps, expected in ((cifar, None, 0.99), (short, 2000, 1 - 5 / 399), (short, 200, 1 - 5 / 39)):
        settings = Settings(**flags, max_steps=steps)
        assert Grassmann().resolve(settings, dataset).bn_decay == min(0.99, expected)


def test_images_are_standardised_by_channel_and_augmented_but_svhn_is_only_scaled():
    dataset = dataclasses.replace(named_like(3), mirror=True)
    pixels = np.random.RandomState(0).randint(0, 256, [3, 32, 32, 3]).astype(np.uint8)
    object.__setattr__(dataset, "train_images", pixels)
    made = program.pipeline(settings(crop_size=28, padding_size=2), dataset)
    np.testing.assert_allclose(made.offset, pixels.reshape(-1, 3).mean(axis=0))
    np.testing.assert_allclose(made.scale, pixels.reshape(-1, 3).std(axis=0))
    assert (made.padding, made.reflection, made.crop_size, made.mirror) == (2, "reflect", 28, True)
    made = program.pipeline(settings(), dataclasses.replace(dataset, name="svhn", mirror=False))
    assert (made.offset, made.scale, made.padding, made.crop_size, made.mirror) == (0.0, 255.0, 0, 32, False)
    made = program.pipeline(settings(mirror=True), dataclasses.replace(dataset, name="svhn", mirror=False))
    assert (made.padding, made.crop_size, made.mirror) == (0, 32, True)


def first_steps(**flags):
    """Two training steps on 12 x 12 images: values of one variable off and one on the manifold, before and after each.

    Returns (gradients, values), each {name: [...]}; the gradients are those of the loss, by TensorFlow.
    """
    training = build(settings(crop_size=12, keep_prob=None, **flags), dtype=tf.float64)
    chosen = [variables.with_role(Role.BIAS)[0], variables.with_role(Role.UNIT_KERNEL, Role.WEIGHT)[0]]
    gradients = tf.gradients(training.loss, chosen)
    seen = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for store in training.stores:
            store.fill(session)
        for _ in range(2):
            values = session.run(chosen)
            seen.append((session.run(gradients), values))
            session.run(training.train_op)
        return seen, session.run(chosen)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_and_nesterov_reach_the_euclidean_optimizer(nesterov):
    seen, (bias, _) = first_steps(optimizer="sgd", grassmann=False, learnRate=0.01, momentum=0.6, nesterov=nesterov)
    expected, velocity = seen[0][1][0], 0.0
    for (gradient, _), _ in seen:
        velocity = 0.6 * velocity + gradient
        expected = expected - 0.01 * (gradient + 0.6 * velocity if nesterov else velocity)
    np.testing.assert_allclose(bias, expected, rtol=1e-6, atol=1e-9)  # the rate is float32


def test_flags_of_sgdg_reach_it():
    """Momentum shows in the second step."""
    seen, (_, last) = first_steps(optimizer="sgdg", learnRateG=0.3, momentum=0.7, grad_clip=0.004, omega=0.1)
    ((_, gradient), (_, start)), ((_, next_gradient), (_, middle)) = seen
    expected, tau = riemannian_steps.sgd_g(start, gradient, np.zeros_like(start), 0.3, 0.7, 0.004)
    np.testing.assert_allclose(middle, expected, atol=1e-9)
    assert np.sqrt(sphere.squared_norms(tau).max()) == pytest.approx(0.3 * 0.004), "the clipping is seen"
    expected, _ = riemannian_steps.sgd_g(middle, next_gradient, tau, 0.3, 0.7, 0.004)
    np.testing.assert_allclose(last, expected, atol=1e-9)


def test_flags_of_adamg_reach_it():
    flags = {"learnRateG": 0.05, "momentum": 0.7, "adam_beta2": 0.6, "adam_eps": 1e-3, "grad_clip": 0.004}
    (((_, gradient), (_, start)), (_, (_, kernel))), _ = first_steps(optimizer="adamg", **flags)
    expected, *_ = riemannian_steps.adam_g(start, gradient, 0.0, 0.0, 1, 0.05, 0.7, 0.6, 1e-3, 0.004)
    np.testing.assert_allclose(kernel, expected, atol=1e-8)


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"model": None}, "--model is missing: choose one of resnet, vgg11, vgg13, vgg16, vgg19"),
        ({"optimizer": None}, "--optimizer is missing.*: sgd, sgdg, adamg"),
        ({"model": "vgg11", "crop_size": 28}, "--crop_size=28"),
        ({"padding_size": 32}, "--padding_size=32: expected at most 31"),
    ],
)
def test_flags_that_are_missing_or_do_not_fit_published_images_are_named_in_one_line(flags, words):
    with pytest.raises(ValueError, match=words) as error:
        settings(**flags)
    assert "\n" not in str(error.value)


def test_defaults_are_the_originals():
    given = Settings(model="resnet", optimizer="sgd")
    expected = {
        "task": "train", "learnRate": 0.1, "learnRateG": 0.1, "learnRateDecay": 0.2, "momentum": 0.9, "nesterov": True,
        "grassmann": False, "grad_clip": None, "omega": None, "adam_beta2": 0.99, "adam_eps": 1e-8, "keep_prob": None,
        "depth": 10, "widen_factor": 1, "weightDecay": None, "biasDecay": None, "gammaDecay": None, "betaDecay": None,
        "crop_size": 32, "num_gpus": 1, "vali_batch_size": 250, "report_freq": 10,
        "vali_freq": None, "save_freq": 10000, "data_dir": "./datasets/", "train_dir": "./logs/", "train_path": None,
        "load": None, "visible_devices": None, "log_device_placement": False, "max_to_keep": 1, "verbose": True, "k": 5,
    }  # fmt: skip
    assert {name: getattr(given, name) for name in expected} == expected
