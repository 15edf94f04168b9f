"""The OPT recipe with each of its methods, on small networks and made-up images."""

import csv
import dataclasses
import functools
import importlib
import json
import pathlib
import zlib

import numpy as np
import pytest

from common.cli.presets import preset_of
from common.cli.program import run
from common.compat import tf
from common.data import synthetic
from common.data.dataset import Dataset
from common.graph import variables
from common.graph.variables import Role
from common.training import problem
from common.training.evaluation import Evaluation
from tests.runs import begin, metrics

METHODS = ("opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs")
EXACT = ("opt_cp", "opt_gs", "opt_hr", "opt_ls", "sopt_gs")
RATES = pathlib.Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "opt-fashion-rates.csv"
REFERENCE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "reference" / "trajectories"


def method_of(folder):
    return importlib.import_module(f"{folder}.train").method()


def settings_of(folder, **options):
    small = {"data": "synthetic", "widths": (8, 8, 8, 8), "batch_size": 16, "max_steps": 6}
    options = {**small, "base_lr": 0.1, "warmup_steps": 0, **options}
    if folder == "sopt_gs":
        options = {"episodes": 4, "episode_steps": 3, **options}
    return method_of(folder).settings_class(**options)


def mostly_slow(folders, but):
    """Parameters of a test: one method stays in the fast set."""
    return [pytest.param(folder, marks=[pytest.mark.slow] * (folder != but)) for folder in folders]


class Session:
    """A training graph of a method, with its session if that is asked for."""

    def __init__(self, folder, dataset=None, **options):
        self.method = method_of(folder)
        dataset = dataset or synthetic.load(64, 32)
        self.settings = self.method.resolve(settings_of(folder, **options), dataset)
        task = self.method.problem(self.settings, dataset)
        self.training = problem.build(task)
        self.kernels = self.training.kernels[0]
        self.evaluation = Evaluation(task, self.kernels)

    @functools.cached_property
    def session(self):
        session = tf.Session()
        self.callbacks = self.method.callbacks(self.settings, session, self.training)
        begin(session, *self.training.stores, self.evaluation.store)
        return session

    def steps(self, first, last):
        for step in range(first, last):
            self.session.run(self.training.train_op)
            for callback in self.callbacks:
                callback.after_step(step, {})


@pytest.mark.parametrize("folder", mostly_slow(METHODS, but="opt_hr"))
def test_the_graph_of_the_paper_is_small(folder):
    Session(folder, dataset=synthetic.load(128, 8, classes=100), widths=method_of(folder).widths, batch_size=128)
    assert len(tf.get_default_graph().get_operations()) < 9_000


@pytest.mark.parametrize("folder", METHODS)
def test_every_method_trains_and_learns(folder):
    options = {"sopt_gs": {"episodes": 8, "episode_steps": 5}, "opt_or": {"base_lr": 0.01}}.get(folder, {})
    run = Session(folder, max_steps=40, **options)  # of opt_or nothing bounds the kernels: 0.1 is too much
    first = run.session.run(run.training.fit)
    run.steps(0, 40)
    assert run.session.run(run.training.fit) < 0.8 * first


@pytest.mark.parametrize("folder", mostly_slow(METHODS, but="opt_hr"))
def test_every_method_trains_a_residual_network(folder):
    """Projections and the fully connected layer stay ordinary; all other kernels are the method's."""
    run = Session(folder, model="resnet", widths=None, depth=10, widen_factor=1)
    ordinary = {variable.op.name for variable in variables.with_role(Role.WEIGHT)}
    assert ordinary == {"group3_block0/projection/weight", "group4_block0/projection/weight", "fc/output/weight"}
    assert [scope for scope, kernel in run.kernels.items() if kernel.rotate] == [
        "group1/conv0",
        *(f"group{group}_block0/layer{layer}_in_block/conv" for group in (2, 3, 4) for layer in (1, 2)),
    ]
    run.steps(0, 3)
    assert np.isfinite(run.session.run(run.training.loss))


@pytest.mark.parametrize("folder", mostly_slow(EXACT, but="opt_gs"))
def test_energy_stays_for_a_hundred_steps(folder):
    episodes = {"episodes": 20, "episode_steps": 10} if folder == "sopt_gs" else {}
    run = Session(folder, max_steps=100, **episodes)
    before = run.evaluation.geometry(run.session)
    run.steps(0, 100)
    after = run.evaluation.geometry(run.session)
    for power in (0, 1, 2):
        energies = before[f"energy_{power}"]
        assert set(energies) == {"conv1_0", "conv1_1", "conv2_0", "conv2_1", "conv3_0", "conv3_1", "fc6"}
        for layer, energy in energies.items():
            np.testing.assert_allclose(after[f"energy_{power}"][layer], energy, rtol=1e-4)
    assert max(after["orthogonality"].values()) < 1e-4


def test_energy_changes_under_ordinary_training():
    run = Session("opt_cp", rotation="none", max_steps=100)
    before = run.evaluation.geometry(run.session)["energy_1"]
    run.steps(0, 100)
    after = run.evaluation.geometry(run.session)["energy_1"]
    assert max(abs(after[layer] / before[layer] - 1) for layer in before) > 1e-2
    assert run.evaluation.geometry(run.session)["orthogonality"] == {}


@pytest.mark.parametrize("folder", mostly_slow(METHODS, but="sopt_gs"))
def test_baselines_run_the_common_recipe_from_every_folder(folder):
    for rotation, roles in (("none", {Role.WEIGHT}), ("free", {Role.WEIGHT, Role.GENERATOR, Role.FIXED})):
        with tf.Graph().as_default():
            run = Session(folder, rotation=rotation, max_steps=None)
            kinds = (Role.WEIGHT, Role.GENERATOR, Role.FIXED, Role.ROTATION, Role.SUBSET)
            assert {variables.role_of(variable) for variable in variables.with_role(*kinds)} == roles
            ((optimizer, members),) = run.training.groups[0]
            assert isinstance(optimizer, tf.train.MomentumOptimizer) and members == variables.trainable()
            decayed = variables.with_role(*Role)
            decayed = [v for v in decayed if variables.role_of(v) not in (Role.MOVING, Role.STEP, Role.DATA)]
            values = run.session.run(decayed)
            expected = 2.5e-4 * sum((value.astype(float) ** 2).sum() for value in values)
            np.testing.assert_allclose(run.session.run(run.training.regularisation), expected, rtol=1e-5)
            assert method_of(folder).steps(run.settings, None) == preset_of("synthetic").schedule.steps


def test_ogd_decays_a_tenth_and_neither_rotations_nor_fixed_weights():
    run = Session("opt_ogd")
    decayed = variables.with_role(Role.WEIGHT, Role.GAMMA, Role.BETA)
    expected = 2.5e-5 * sum((value.astype(float) ** 2).sum() for value in run.session.run(decayed))
    np.testing.assert_allclose(run.session.run(run.training.regularisation), expected, rtol=1e-5)
    (_, rotations), (_, others) = run.training.groups[0]
    assert rotations == variables.with_role(Role.ROTATION) and set(others) == set(decayed)


def rates_at(folder, steps, **options):
    """Returns {name: [learning rate at each step]}."""
    method, step = method_of(folder), tf.placeholder(tf.int64, [])
    rates = method.rates(method.resolve(settings_of(folder, **options), synthetic.load(128, 8)), step)
    with tf.Session() as session:
        found = [session.run(rates, {step: number}) for number in steps]
    return {name: [rate[name] for rate in found] for name in rates}


def test_averages_of_a_short_run_forget_what_came_before_the_last_drop():
    """exp(-5) = 0.0067 of it is left. The last drop is after 433 of 500 updates, in sopt_gs after 17 of 20 episodes."""
    digits, cifar = synthetic.load(64, 32), dataclasses.replace(synthetic.load(64, 32), name="cifar100")
    cases = [
        ("opt_hr", cifar, {"max_steps": None}, 0.999),
        ("opt_hr", digits, {"max_steps": 2000}, 1 - 5 / 268),
        ("opt_hr", digits, {"max_steps": 2000, "schedule": "cosine"}, 1 - 5 / 268),
        ("opt_hr", digits, {"max_steps": 500, "rotation": "none"}, 1 - 5 / 67),
        ("opt_hr", digits, {"max_steps": 6}, 0.0),
        ("opt_hr", digits, {"max_steps": 2000, "bn_decay": 0.0}, 0.0),
        ("sopt_gs", digits, {"max_steps": None, "episodes": 20, "episode_steps": 25}, 1 - 5 / 75),
    ]
    for folder, dataset, options, expected in cases:
        method, settings = method_of(folder), settings_of(folder, **options)
        assert method.resolve(settings, dataset).bn_decay == pytest.approx(expected, rel=1e-12), options
        assert method.problem(settings, dataset).batch_norm.decay == pytest.approx(expected, rel=1e-12)


# Rates in units of the given ones for batch 128 of a recipe for 32, three updates of warm-up: steps 0 to 3, the last
# step before a drop, three drops.
SCALED = {"none": [1 / 3, 2 / 3, 1, 1, 1, 0.1, 0.01, 0.001], "linear": [2, 3, 4, 4, 4, 0.4, 0.04, 0.004]}


@pytest.mark.parametrize("lr_scale", SCALED)
@pytest.mark.parametrize("folder", METHODS)
def test_scale_and_warm_up_reach_every_rate_of_every_method(folder, lr_scale):
    own = {"episodes": 20, "episode_steps": 5} if folder == "sopt_gs" else {}
    drops = [39, 40, 65, 85] if folder == "sopt_gs" else [29, 30, 50, 65]  # shares of 20 episodes, of 75 updates
    flags = {"lr_scale": lr_scale, "warmup_steps": 3, "batch_size": 128, "base_lr": 0.3, "max_steps": 75, **own}
    rates = rates_at(folder, [0, 1, 2, 3, *drops], **flags)
    expected = {"lr": 0.3 * np.array(SCALED[lr_scale])}
    if folder == "opt_ogd":  # its rotations' rate drops to a fifth
        expected["rotation_lr"] = 0.02 * np.array(SCALED[lr_scale]) * [1, 1, 1, 1, 1, 2, 4, 8]
    assert set(rates) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(rates[name], values, rtol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("folder", ["opt_hr", "opt_ogd", "sopt_gs"])
def test_another_schedule_reaches_every_rate(folder, schedule):
    steps = [0, 30, 59, 60, 100]
    own = {"episodes": 20, "episode_steps": 5} if folder == "sopt_gs" else {}
    rates = rates_at(folder, steps, schedule=schedule, base_lr=0.3, max_steps=60, **own)
    share = (1 + np.cos(np.pi * np.minimum(np.array(steps) / 60, 1))) / 2 if schedule == "cosine" else np.ones(5)
    for name, start in {"lr": 0.3, "rotation_lr": 0.02}.items():
        if name in rates:
            np.testing.assert_allclose(rates[name], start * share, rtol=1e-12, atol=1e-17)
    assert ("rotation_lr" in rates) == (folder == "opt_ogd")


@pytest.mark.parametrize(("folder", "optimizer", "decay"), [("opt_gs", "adam", 0.0), ("opt_ogd", "adamw", 0.01)])
def test_a_first_step_of_adam(folder, optimizer, decay):
    """m and v corrected are g and g^2; AdamW has no L2 in its loss, and opt_ogd's rotations step as ever."""
    run = Session(folder, optimizer=optimizer, base_lr=None, weight_decay=0.1)
    assert run.settings.base_lr == 1e-3
    trained = [v for v in variables.trainable() if variables.role_of(v) is not Role.ROTATION]
    gradients = [run.training.health.gradients[variable.op.name] for variable in trained]
    before, gradients, penalty, _ = run.session.run(
        [[tf.identity(v) for v in trained], gradients, run.training.regularisation, run.training.train_op]
    )
    assert (penalty > 0) == (optimizer == "adam")
    for value, gradient, after in zip(before, gradients, run.session.run(trained)):
        expected = value - 1e-3 * (decay * value + gradient / (np.abs(gradient) + 1e-8))
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=2e-6)
    rotations = variables.with_role(Role.ROTATION)
    names = {variable.op.name for variable in tf.global_variables()}
    assert all(f"{v.op.name}/RelativeMomentum" in names and f"{v.op.name}/Adam_m" not in names for v in rotations)


@pytest.mark.parametrize(("start", "size"), [("paper", 1.0), ("unit", None), ("0.02", 0.02)])
def test_generators_start_at_the_deviation_that_is_asked_for(start, size):
    run = Session("opt_cp", widths=(8, 8, 16, 16), generator_start=start)
    generators = variables.with_role(Role.GENERATOR)
    for value in run.session.run(generators):
        expected = size or len(value) ** -0.5
        assert abs(value.std() / expected - 1) < 5 / len(value)


@pytest.mark.parametrize(("folder", "data", "steps", "start", "warmup", "lr"), [
    ("opt_cp", "cifar100", 75_000, "paper", 0, 0.1), ("opt_cp", "fashion_mnist", 2_000, "unit", 200, 0.1),
    ("opt_cp", "digits", 500, "unit", 50, 0.1), ("opt_ls", "cifar100", 75_000, "paper", 0, 0.1),
    ("opt_ls", "digits", 400, "unit", 40, 0.01), ("opt_ls", "fashion_mnist", 2_000, "unit", 200, 0.2),
])  # fmt: skip
def test_presets_rise_for_a_tenth_but_for_the_paper(folder, data, steps, start, warmup, lr):
    dataset, method = dataclasses.replace(synthetic.load(64, 32), name=data), method_of(folder)
    for asked, expected in ((None, warmup), (0, 0), (4, 4)):
        resolved = method.resolve(method.settings_class(data=data, warmup_steps=asked), dataset)
        found = method.steps(resolved, dataset), resolved.generator_start, resolved.warmup_steps, resolved.base_lr
        assert found == (steps, start, expected, lr)


def test_rates_on_fashion_mnist_are_the_chosen_ones():
    """As many rows as there are methods, and the two baselines, stand in the table of the rates."""
    with open(RATES, newline="", encoding="utf-8") as file:
        chosen = {row["row"]: row["rates"] for row in csv.DictReader(file) if row["chosen"] == "True"}
    rotations = {"baseline": ("opt_cp", "none"), "upt": ("opt_cp", "free")}
    dataset, rows = dataclasses.replace(synthetic.load(64, 32), name="fashion_mnist"), [*METHODS, *rotations]
    for row in rows:
        folder, rotation = rotations.get(row, (row, "method"))
        method = method_of(folder)
        settings = method.resolve(method.settings_class(rotation=rotation, data="fashion_mnist"), dataset)
        rate = settings.rotation_lr if row == "opt_ogd" else settings.base_lr
        assert rate == float(chosen[row]), row
    published = method_of("opt_ogd").settings_class(data="fashion_mnist", map_algorithm="published")
    assert method_of("opt_ogd").resolve(published, dataset).rotation_lr == float(chosen["opt_ogd-published"])


def test_only_methods_that_start_at_random_have_a_start():
    cases = ("opt_ogd", {}), ("sopt_gs", {}), ("opt_hr", {"rotation": "free"}), ("opt_hr", {"rotation": "none"})
    for folder, options in cases:
        method, settings = method_of(folder), settings_of(folder, generator_start="unit", **options)
        with pytest.raises(ValueError, match="generator_start=unit: .* has no generators that start at random; leave"):
            method.check(settings)
        assert method.resolve(settings_of(folder, **options), synthetic.load(64, 32)).generator_start is None


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "lots"])
def test_a_start_that_is_no_deviation(text):
    with pytest.raises(ValueError, match="--generator_start=.*: expected paper, unit or a standard deviation above 0"):
        settings_of("opt_hr", generator_start=text)


@pytest.mark.parametrize("flags", [
    {"optimizer": "adam"},
    pytest.param({"map": "hr", "generator_optimizer": "adamg", "optimizer": "adamw"}, marks=pytest.mark.slow),
])  # fmt: skip
def test_an_episode_of_stochastic_opt_ends_with_fresh_generators_and_cleared_slots_but_in_the_first_conv(flags):
    """The first conv is rotated in full."""
    run = Session("sopt_gs", base_lr=1e-3, **flags)
    generators = {variable.op.name: variable for variable in variables.with_role(Role.GENERATOR)}
    slots = {name: [v for v in tf.global_variables() if v.op.name.startswith(f"{name}/")] for name in generators}
    np.testing.assert_array_equal(run.session.run(generators["conv1_0/rotation"]), np.eye(27))
    run.steps(0, 2)
    assert all(slot.any() for of_one in run.session.run(slots).values() for slot in of_one)
    run.steps(2, 3)
    for name, of_one in run.session.run(slots).items():
        value, first = run.session.run(generators[name]), name == "conv1_0/rotation"
        assert np.array_equal(value, np.eye(len(value))) != first, name
        assert len(of_one) > 1 and all(slot.any() == first for slot in of_one), name


def test_max_steps_ends_the_episodes_of_stochastic_opt_early():
    for most, steps in ((700, 700), (None, 800)):
        settings = settings_of("sopt_gs", episodes=400, episode_steps=2, max_steps=most)
        assert method_of("sopt_gs").steps(settings, None) == steps
        longer = method_of("sopt_gs").longer_by(settings)
        assert longer == ("--episodes" if most is None else "--max_steps")
    assert method_of("sopt_gs").longer_by(settings_of("sopt_gs", rotation="none")) == "--max_steps"


def test_degrees_of_freedom_of_stochastic_opt():
    dataset = synthetic.load(64, 8, classes=100)
    task = method_of("sopt_gs").problem(settings_of("sopt_gs", widths=(64, 64, 64, 64)), dataset)
    assert sum(kernel.degrees_of_freedom for kernel in task.kernels(tf.float32).values()) == 90_871


TRAJECTORIES = {"opt_cp": (32, 64, 128, 128), "opt_ls": (64, 64, 64, 64), "opt_gs": (8, 8, 8, 8)}


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the originals' figures are not here")
@pytest.mark.parametrize("folder", ["opt_cp", "opt_gs", pytest.param("opt_ls", marks=pytest.mark.slow)])
def test_first_losses_are_those_of_the_originals(folder):
    widths = TRAJECTORIES[folder]
    name = folder if folder != "opt_gs" else "opt_gs_width8"
    reference = json.loads((REFERENCE / f"{name}.json").read_text())
    blank = np.zeros([128, 32, 32, 3], np.uint8)
    dataset = Dataset("synthetic", 100, blank, np.zeros(128, np.int32), blank[:1], np.zeros(1, np.int32), False)
    run = Session(folder, dataset=dataset, widths=widths, batch_size=128, max_steps=75_000)
    for variable in variables.with_role(Role.FIXED, Role.GENERATOR, Role.WEIGHT):
        name, shape = variable.op.name, variable.shape.as_list()
        value = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).randn(*shape).astype("f")
        if not name.endswith("rotation"):
            value = value * np.sqrt(2 / np.prod(shape[:-1]))
        run.session.run(variable.initializer, {variable.initializer.inputs[1]: value})
    rng = np.random.RandomState(7)
    images, labels = rng.randint(0, 256, (6, 128, 32, 32, 3)), rng.randint(0, 100, (6, 128))
    for step in range(6):
        feed = {run.training.images: (images[step] - 127.5) / 128, run.training.labels: labels[step]}
        fetches = [run.training.train_op, run.training.fit, run.training.regularisation]
        _, fit, regularisation = run.session.run(fetches, feed)
        early = 1e-3 if folder == "opt_gs" else 2e-3
        np.testing.assert_allclose(fit, reference["fit"][step], rtol=early if step < 2 or folder != "opt_gs" else 5e-2)
        np.testing.assert_allclose(regularisation, reference["reg"][step], rtol=1e-4)


@pytest.mark.parametrize(
    ("folder", "rotation"), [("opt_gs", "none"), pytest.param("sopt_gs", "method", marks=pytest.mark.slow)]
)
def test_a_run_follows_from_its_seed(folder, rotation, tmp_path):
    often = {"report_freq": 2, "vali_freq": 3, "max_steps": 7, "tensorboard": False, "widths": (4, 4, 4, 4)}

    def trained(name, **options):
        settings = settings_of(folder, **{**often, "rotation": rotation, "train_path": str(tmp_path / name), **options})
        assert run(method_of(folder), settings) == 0
        return metrics(tmp_path / name)

    first = trained("a")
    assert [(line["step"], line["split"]) for line in first] == [
        (0, "train"), (1, "train"), (2, "test"), (3, "train"), (5, "train"), (5, "test"), (6, "train"), (6, "test")
    ]
    assert first == trained("b")
    assert first[0]["fit"] != trained("c", seed=1, max_steps=1)[0]["fit"]


@pytest.mark.parametrize("folder", mostly_slow(("opt_gs", "opt_hr", "opt_ls", "opt_ogd", "sopt_gs"), but="opt_ogd"))
def test_every_algorithm_of_a_map_gives_the_same_training(folder):
    algorithms = list(method_of(folder).factories)
    assert algorithms[0] == "auto" and len(algorithms) > 2
    losses, base_lr = {}, 0.001 if folder == "opt_ls" else 0.01  # its Q moves most: three steps multiply the rounding
    for algorithm in algorithms:
        with tf.Graph().as_default():
            run = Session(folder, base_lr=base_lr, map_algorithm=algorithm)
            with run.session as session:
                losses[algorithm] = [session.run([run.training.loss, run.training.train_op])[0] for _ in range(3)]
    for algorithm in algorithms:
        np.testing.assert_allclose(losses[algorithm], losses["auto"], rtol=1e-3, err_msg=algorithm)


def test_an_algorithm_that_a_method_does_not_have_is_named_before_data_are_read():
    with pytest.raises(ValueError, match="--map_algorithm=qr: opt_cp has auto, block, cholesky; choose") as error:
        run(method_of("opt_cp"), settings_of("opt_cp", map_algorithm="qr", data="cifar100", data_dir="/nowhere"))
    assert "\n" not in str(error.value)
