"""The benchmark's float64 references against the tests' own, which are written in other ways."""

import numpy as np
import pytest

from benchmarks import reference
from tests.oracles import cayley, orthonormal, polar

ORACLES = {
    "cayley": (cayley.rotation, cayley.gradient),
    "gram_schmidt": (orthonormal.gram_schmidt, orthonormal.gram_schmidt_gradient),
    "householder": (orthonormal.householder, orthonormal.householder_gradient),
    "lowdin": (polar.rotation, polar.gradient),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("size, columns", [(7, 3), (12, 12)])
def test_reference(name, size, columns):
    generator, weights, upstream = [value.astype(np.float64) for value in reference.inputs(size, columns, 1)]
    rotation, gradient = getattr(reference, name)(generator)
    oracle_rotation, oracle_gradient = ORACLES[name]
    np.testing.assert_allclose(rotation, oracle_rotation(generator), atol=1e-10)
    expected = oracle_gradient(generator, weights, upstream)[0]
    assert reference.relative(gradient(weights, upstream), expected) < 1e-9


def test_errors_of_known_matrices():
    assert reference.relative(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == pytest.approx(0.2)
