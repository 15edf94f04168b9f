"""--generator_optimizer: generators on the Grassmann manifold, in the recipe of every method whose map allows it."""

import numpy as np
import pytest

from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.graph.variables import Role
from tests.common.cli.test_recipe import Session, method_of, rates_at, settings_of

AXES = {"opt_hr": 0, "opt_gs": 1}  # over which the unit vectors of P run: columns, rows


def lengths(generator, axis):
    return np.linalg.norm(generator.astype(float), axis=axis)


@pytest.mark.parametrize(
    ("folder", "optimizer"), [pytest.param("opt_hr", "adamg", marks=pytest.mark.slow), ("opt_gs", "sgdg")]
)
def test_p_starts_at_unit_length_where_q_is_the_papers_and_stays_there_without_l2(folder, optimizer):
    with tf.Graph().as_default():
        usual = Session(folder, generator_start="paper")
        kernels = usual.session.run([kernel.tensor for kernel in usual.kernels.values()])
    run = Session(folder, generator_optimizer=optimizer, base_lr=0.01)
    for value, expected in zip(run.session.run([kernel.tensor for kernel in run.kernels.values()]), kernels):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    generators = variables.with_role(Role.GENERATOR)
    others = run.session.run(variables.with_role(Role.FIXED, Role.WEIGHT, Role.GAMMA, Role.BETA))
    decay = 2.5e-4 * sum((value.astype(float) ** 2).sum() for value in others)
    np.testing.assert_allclose(run.session.run(run.training.regularisation), decay, rtol=1e-5)
    before = run.session.run([run.training.fit, *generators])
    run.steps(0, 20)
    after = run.session.run([run.training.fit, *generators])
    assert after[0] < before[0]
    for start, end in zip(before[1:], after[1:]):
        np.testing.assert_allclose([lengths(start, AXES[folder]), lengths(end, AXES[folder])], 1.0, rtol=0, atol=1e-6)
        assert np.linalg.norm(end - start) > 1e-3


@pytest.mark.parametrize(
    ("flags", "first"), [({}, 0.05), ({"generator_lr": 0.4}, 0.4), ({"generator_optimizer": "adamg"}, 0.05)]
)
def test_the_rate_is_of_its_own_and_follows_the_schedule(flags, first):
    options = {"generator_optimizer": "sgdg", "base_lr": 0.3, "max_steps": 75, "warmup_steps": 2, **flags}
    rates, shares = rates_at("opt_hr", [0, 1, 2, 30, 50], **options), np.array([0.5, 1, 1, 0.1, 0.01])
    for name, start in {"lr": 0.3, "generator_lr": first}.items():
        np.testing.assert_allclose(rates[name], start * shares, rtol=1e-12)


@pytest.mark.parametrize(
    ("folder", "flags", "name"),
    [
        *((folder, {}, folder) for folder in ("opt_cp", "opt_ls", "opt_ogd", "opt_or")),
        *(("sopt_gs", {"map": name}, f"sopt_gs-{name}") for name in ("ls", "cp")),
    ],
)
def test_a_map_that_sees_lengths_is_an_error(folder, flags, name):
    with pytest.raises(ValueError) as error:
        method_of(folder).check(settings_of(folder, generator_optimizer="sgdg", **flags))
    wanted = "has no P whose columns or rows may have any length; leave it out"
    assert str(error.value) == f"--generator_optimizer=sgdg: {name} {wanted}"


def test_flags_that_do_not_go_with_it():
    method, settings = method_of("opt_gs"), settings_of("opt_gs", generator_optimizer="adamg", generator_start="unit")
    wanted = "--generator_start=unit: under --generator_optimizer=adamg P starts at norm 1; leave one of the two out"
    with pytest.raises(ValueError, match=wanted):
        method.check(settings)
    baseline = settings_of("opt_gs", generator_optimizer="sgdg", generator_lr=0.1, rotation="none")
    method.check(baseline)
    assert set(baseline.useless()) == {"generator_optimizer", "generator_lr"}
    assert set(settings_of("opt_gs", generator_lr=0.1).useless()) == {"generator_lr"}
    assert method.resolve(settings_of("opt_gs"), synthetic.load(64, 8)).generator_lr is None
