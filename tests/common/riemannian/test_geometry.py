"""Geometry of G(1, n) against rotation matrices in float64 NumPy."""

import numpy as np
import pytest

from common.compat import tf
from common.riemannian import geometry
from tests.oracles import sphere

SHAPES = [(7, 4), (3, 3, 2, 5), (2, 3, 4)]
TOLERANCES = {"float32": 2e-6, "float64": 1e-13}
each_type = pytest.mark.parametrize("dtype", TOLERANCES)


def evaluate(function, *arrays, dtype="float64"):
    """Returns function(tensors of arrays), evaluated; checks that the type is kept."""
    result = function(*[tf.constant(array, dtype) for array in arrays])
    with tf.Session() as session:
        value = session.run(result)
    assert value.dtype == dtype
    return value


def sample(shape, lengths=1.0, seed=0):
    """Returns unit neurons, and two tangent kernels whose neurons have norms of about `lengths`."""
    random = np.random.RandomState(seed)
    point = sphere.each_neuron(lambda y: y / np.linalg.norm(y), random.randn(*shape))
    scale = lengths / np.sqrt(np.prod(shape[:-1]))
    first, second = [sphere.project(point, scale * random.randn(*shape)) for _ in range(2)]
    return point, first, second


@each_type
@pytest.mark.parametrize("shape", SHAPES)
def test_all_maps_agree_with_rotation_matrices(shape, dtype):
    point, direction, tangent = sample(shape, lengths=1.5)
    gradient = np.random.RandomState(1).randn(*shape)
    cases = [
        (geometry.normalise, sphere.normalise, (gradient,)),
        (geometry.project, sphere.project, (point, gradient)),
        (geometry.exponential, sphere.exponential, (point, direction)),
        (geometry.transport, sphere.transport, (point, direction, tangent)),
        (geometry.transport_along_itself, lambda y, d: sphere.transport(y, d, d), (point, direction)),
        (lambda h: geometry.clip(h, tf.constant(0.1, dtype)), lambda h: sphere.clip(h, 0.1), (0.1 * gradient,)),
        (lambda h: geometry.clip(h, tf.constant(9.0, dtype)), lambda h: h, (0.1 * gradient,)),
    ]
    for function, expected, arguments in cases:
        actual = evaluate(function, *arguments, dtype=dtype)
        np.testing.assert_allclose(actual, expected(*arguments), rtol=0, atol=3 * TOLERANCES[dtype])


def test_inner_and_norm_have_one_number_for_each_neuron():
    first, second = np.random.RandomState(0).randn(2, 3, 3, 2, 5)
    expected = np.einsum("abcd,abcd->d", first, second)
    assert evaluate(geometry.inner, first, second).shape == (1, 1, 1, 5)
    np.testing.assert_allclose(evaluate(geometry.inner, first, second)[0, 0, 0], expected, rtol=1e-13)
    np.testing.assert_allclose(evaluate(geometry.norm, first)[0, 0, 0] ** 2, sphere.squared_norms(first)[0, 0, 0])


@pytest.mark.parametrize("length", [1e-12, 1e-5, 1.0, np.pi, 20.0])
def test_small_and_large_movements_are_exact(length):
    """Also where 1 - cos|d| is all cancellation, and where the geodesic goes round more than once."""
    point, direction, tangent = sample((3, 3, 2, 5), lengths=length)
    moved = evaluate(geometry.transport, point, direction, tangent) - tangent
    expected = sphere.transport(point, direction, tangent) - tangent
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-12 * max(length, length**2))
    end = evaluate(geometry.exponential, point, direction)
    np.testing.assert_allclose(end, sphere.exponential(point, direction), rtol=0, atol=1e-12 * max(1.0, length))


def test_exponential_leaves_in_the_direction_of_the_tangent():
    """exp(y, t h) = y + t h + O(t^2): a tenth of t leaves a hundredth of the difference."""
    point, tangent, _ = sample((3, 3, 2, 5))
    gaps = []
    for t in (1e-2, 1e-3, 1e-4):
        end = evaluate(geometry.exponential, point, t * tangent)
        gaps.append(np.abs(end - point - t * tangent).max())
    np.testing.assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 100.0, rtol=1e-2)


@each_type
def test_transport_keeps_norms_and_inner_products_and_tangency(dtype):
    point, direction, tangent = sample((3, 3, 2, 5), lengths=2.0)

    def differences(y, d, t):
        end = geometry.exponential(y, d)
        moved, velocity = geometry.transport(y, d, t), geometry.transport_along_itself(y, d)
        inner = geometry.inner
        kept = [inner(moved, moved) - inner(t, t), inner(moved, velocity) - inner(t, d), inner(end, end) - 1.0]
        kept += [inner(velocity, velocity) - inner(d, d), inner(end, moved), inner(end, velocity)]
        return tf.stack(kept)

    assert np.abs(evaluate(differences, point, direction, tangent, dtype=dtype)).max() < 10 * TOLERANCES[dtype]


@each_type
@pytest.mark.parametrize("tiny", [0.0, 1e-45, 1e-30, 1e-20])
def test_vectors_without_length_give_the_identity(dtype, tiny):
    """Zero, and vectors whose squared norm is zero or denormal in float32."""
    point, _, tangent = [array.astype(dtype) for array in sample((3, 3, 2, 5))]
    nothing = np.full_like(point, tiny)
    np.testing.assert_array_equal(evaluate(geometry.exponential, point, nothing, dtype=dtype), point)
    np.testing.assert_array_equal(evaluate(geometry.transport, point, nothing, tangent, dtype=dtype), tangent)
    still = evaluate(geometry.transport_along_itself, point, nothing, dtype=dtype)
    clipped = evaluate(lambda h: geometry.clip(h, 0.1), nothing, dtype=dtype)
    np.testing.assert_allclose([still, clipped], [nothing, nothing], rtol=1e-6, atol=1e-44)
    assert np.abs(evaluate(geometry.normalise, nothing, dtype=dtype)).max() <= 1e8 * tiny


@each_type
def test_gradients_through_the_maps_are_finite(dtype):
    """No optimizer differentiates them, but they are ordinary functions; only |d| itself has no gradient at 0."""
    point, direction, tangent = [tf.constant(array, dtype) for array in sample((7, 4), lengths=1e-6)]
    results = [geometry.transport(point, direction, tangent), geometry.exponential(point, direction)]
    results.append(geometry.clip(tangent, 0.1))
    with tf.Session() as session:
        for gradient in session.run(tf.gradients(results, [point, direction, tangent])):
            assert np.isfinite(gradient).all()
