"""opt_or's penalty against NumPy in float64, and what the method makes of it."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from opt_or.penalty import excess_norm
from tests.common.cli.test_recipe import Session

RANDOM = np.random.default_rng(3)
SKEW = np.linalg.qr(RANDOM.normal(size=(7, 7)))[0]
CASES = {
    "normal": RANDOM.normal(size=(7, 7)),
    "near the identity": np.eye(7) + 1e-4 * RANDOM.normal(size=(7, 7)),
    "orthogonal, three times": 3.0 * SKEW,
    "singular": np.ones((7, 7)),
    "zero": np.zeros((7, 7)),
}


def penalty_of(matrix):
    excess = matrix @ matrix.T - np.eye(len(matrix))
    return np.sqrt(np.sum(excess**2))


def slopes_of(matrix, step=1e-6):
    """Central differences along each entry."""
    found = np.zeros_like(matrix)
    for place in np.ndindex(matrix.shape):
        change = np.zeros_like(matrix)
        change[place] = step
        found[place] = (penalty_of(matrix + change) - penalty_of(matrix - change)) / (2 * step)
    return found


def computed(matrix, dtype, factor=1.0):
    value = tf.constant(matrix, dtype)
    norm = excess_norm(value)
    with tf.Session() as session:
        return session.run([norm, tf.gradients(factor * norm, value)[0]])


@pytest.mark.parametrize("name", CASES)
def test_penalty_and_gradient_against_numpy(name):
    matrix = CASES[name]
    norm, gradient = computed(matrix, tf.float64, factor=0.1)
    np.testing.assert_allclose(norm, penalty_of(matrix), rtol=1e-12)
    np.testing.assert_allclose(gradient, 0.1 * slopes_of(matrix), atol=1e-6)
    norm, gradient = computed(matrix, tf.float32, factor=0.1)
    np.testing.assert_allclose(norm, penalty_of(matrix), rtol=2e-3)
    np.testing.assert_allclose(gradient, 0.1 * slopes_of(matrix), atol=2e-3)


@pytest.mark.parametrize("size", [1, 7])
def test_at_the_identity_the_penalty_is_0_and_its_gradient_too(size):
    norm, gradient = computed(np.eye(size), tf.float32)
    assert norm == 0.0
    np.testing.assert_array_equal(gradient, np.zeros([size, size]))


def test_the_loss_of_opt_or():
    """Recipe's L2 on everything, and a tenth of the norms; at the start P = I adds nothing."""
    run = Session("opt_or", widths=(4, 4, 4, 4))
    generators = variables.with_role(Role.GENERATOR)
    mapped = {scope: kernel for scope, kernel in run.kernels.items() if kernel.rotate}
    assert [kernel.degrees_of_freedom for kernel in mapped.values()] == [
        generator.shape.num_elements() for generator in generators
    ]
    decayed = [*variables.trainable(), *variables.with_role(Role.FIXED)]

    def expected():
        values, matrices = run.session.run([decayed, generators])
        halves = sum(np.sum(value.astype(np.float64) ** 2) / 2 for value in values)
        return 5e-4 * halves + 0.1 * sum(penalty_of(matrix.astype(np.float64)) for matrix in matrices)

    for generator in run.session.run(generators):
        np.testing.assert_array_equal(generator, np.eye(len(generator)))
    np.testing.assert_allclose(run.session.run(run.training.regularisation), expected(), rtol=1e-5)
    run.steps(0, 5)
    np.testing.assert_allclose(run.session.run(run.training.regularisation), expected(), rtol=1e-5)
    off = run.evaluation.geometry(run.session)["orthogonality"]
    for scope, matrix in zip(mapped, run.session.run(generators)):
        np.testing.assert_allclose(off[scope], penalty_of(matrix.astype(np.float64)), rtol=1e-3)
        assert off[scope] > 1e-3
