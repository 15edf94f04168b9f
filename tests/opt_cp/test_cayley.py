"""The Cayley map against NumPy float64: values, gradients, sizes, scales, errors, graph."""

import functools

import numpy as np
import pytest

from common.compat import tf
from opt_cp.cayley import cayley
from tests.oracles import batches, generators, maps
from tests.oracles import cayley as oracle

LARGEST = 272

every_way = pytest.mark.parametrize(
    "rotate", [functools.partial(cayley, algorithm=name) for name in cayley.algorithms], ids=cayley.algorithms
)


def _plain(generator, weights):
    """The textbook form, differentiated by TensorFlow."""
    upper = tf.linalg.band_part(generator, 0, -1)
    skew = upper - tf.transpose(upper)
    identity = tf.eye(int(generator.shape[0]), dtype=generator.dtype)
    return (identity + skew) @ tf.matrix_inverse(identity - skew) @ weights


@every_way
@pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 2e-5), (tf.float64, 3e-13)])
@maps.every_size
def test_values_and_gradients_of_every_size(rotate, dtype, tolerance, sizes):
    cases = [maps.case(generators.normal(size), 1 + 3 * (size % 3)) for size in sizes]
    if dtype == tf.float32:  # in float64 what differs is the precision, not the path
        cases.append(maps.case(generators.normal(LARGEST), 64))
    for case, (output, of_generator, of_weights) in zip(cases, maps.run(rotate, cases, dtype)):
        generator, weights, upstream = case
        expected_generator, expected_weights = oracle.gradient(*case)
        assert output.dtype == dtype.as_numpy_dtype
        assert maps.relative(output, oracle.rotation(generator) @ weights) < tolerance, len(generator)
        assert maps.relative(of_weights, expected_weights) < tolerance, len(generator)
        assert maps.relative(of_generator, expected_generator) < tolerance, len(generator)
        assert not np.tril(of_generator).any(), "the diagonal and what lies below it take no part"


def test_gradient_is_that_of_the_plain_form():
    cases = [maps.case(generators.normal(size), 5) for size in (2, 9, 64)]
    for ours, plain in zip(maps.run(cayley, cases, tf.float64), maps.run(_plain, cases, tf.float64)):
        for actual, expected in zip(ours, plain):
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@every_way
@pytest.mark.parametrize("size", [5, 64])
def test_gradient_is_the_slope(rotate, size):
    for difference, product in maps.slope(rotate, *maps.case(generators.normal(size), 4)):
        np.testing.assert_allclose(product, difference, rtol=1e-6)


@every_way
@pytest.mark.parametrize("dtype, size, bound", [(tf.float32, LARGEST, 1e-4), (tf.float64, 144, 1e-11)])
def test_orthogonal_for_normal_and_for_ill_conditioned_generators(rotate, dtype, size, bound):
    values = [generators.normal(size, seed) for seed in (0, 1)]
    values += [generators.with_condition(size, condition) for condition in (1e3, 1e4, 1e6)]
    values += [1e6 * generators.with_condition(size, 1e6)]
    for rotation in maps.rotations(rotate, values, dtype):
        assert generators.orthogonality_error(rotation) < bound


@every_way
@pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
def test_every_scale_stays_orthogonal(rotate, dtype, bound):
    scales = (1e-12, 1e-3, 1e1, 1e3, 1e6, 1e12)
    values = [scale * generators.normal(size) for scale in scales for size in (1, 3, 8, 145)]
    for generator, rotation in zip(values, maps.rotations(rotate, values, dtype)):
        assert generators.orthogonality_error(rotation) < bound, (len(generator), np.abs(generator).max())


@every_way
@pytest.mark.parametrize("size", [1, 2, 3, 27, 64, 65, 145])
def test_huge_generators_reach_their_limit(rotate, size):
    """A skew matrix of odd size has a null vector, which Q keeps however large the generator is."""
    generator = generators.normal(size)
    (rotation,) = maps.rotations(rotate, [1e12 * generator])
    np.testing.assert_allclose(rotation, oracle.rotation_of_huge(generator), atol=1e-3)


@every_way
def test_tiny_generators_turn_by_twice_the_skew_part(rotate):
    generator = generators.normal(64)
    weights = np.zeros((64, 1))
    weights[3] = 1
    ((output, of_generator, _),) = maps.run(rotate, [(1e-12 * generator, weights, np.ones((64, 1)))])
    skew = np.triu(generator, 1) - np.triu(generator, 1).T
    rows = np.arange(64) != 3
    np.testing.assert_allclose(output[rows, 0], 2e-12 * skew[rows, 3], rtol=1e-5)
    ones = np.ones((64, 1))
    np.testing.assert_allclose(of_generator, np.triu(2 * (ones @ weights.T - weights @ ones.T), 1), atol=1e-6)


@every_way
@pytest.mark.parametrize("generator", [np.eye(8), np.zeros((8, 8)), np.ones((9, 9)), 1e12 * np.ones((8, 8))])
def test_special_generators_are_finite_with_their_gradient(rotate, generator):
    for value in maps.run(rotate, [maps.case(generator, 3)])[0]:
        assert np.isfinite(value).all()


@every_way
def test_the_diagonal_and_the_lower_triangle_do_not_matter(rotate):
    generator = generators.normal(9)
    full, upper = maps.rotations(rotate, [generator, np.triu(generator, 1)], tf.float64)
    np.testing.assert_allclose(full, upper, atol=1e-13)
    np.testing.assert_allclose(maps.rotations(rotate, [np.diag(np.arange(5.0))])[0], np.eye(5))


@every_way
def test_as_many_nodes_for_every_size(rotate):
    counts = {size: maps.nodes(rotate, size) for size in (1, 2, 3, 27, 64, 145, 576, 1024)}
    assert len(set(counts.values())) == 1, counts
    assert counts[1] <= 520


@pytest.mark.parametrize(
    "generator, weights, message",
    [
        ([3, 4], [3, 2], r"cayley: .*\(3, 4\)"),
        ([3], [3, 2], r"cayley: .*\(3,\)"),
        ([2, 3, 3], [3, 2], r"cayley: .*\(3, 2\), expected \[2, 3, m\]"),
        ([0, 0], [0, 2], r"cayley: .*\(0, 0\)"),
        ([3, 3], [4, 2], r"cayley: .*\(4, 2\)"),
        ([3, 3], [3], r"cayley: .*\(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(generator, weights, message):
    with pytest.raises(ValueError, match=message) as caught:
        cayley(tf.zeros(generator), tf.zeros(weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("types", [(tf.float32, tf.float64), (tf.int32, tf.int32)])
def test_types_that_do_not_fit_are_named(types):
    with pytest.raises(ValueError, match="cayley: .*(float32|int32)"):
        cayley(tf.zeros([3, 3], types[0]), tf.zeros([3, 2], types[1]))


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="cayley: the algorithm is 'lu', expected one of auto, block, cholesky"):
        cayley(tf.zeros([3, 3]), tf.zeros([3, 2]), algorithm="lu")


@every_way
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_generators_that_are_not_finite_are_named(rotate, bad):
    generator = generators.normal(6)
    generator[1, 2] = bad
    with pytest.raises(tf.errors.InvalidArgumentError, match="cayley: .*not finite"):
        maps.rotations(rotate, [generator])


def test_a_variable_can_be_the_generator():
    generator = tf.get_variable("P", initializer=tf.constant(generators.normal(4), tf.float32))
    output = cayley(generator, tf.eye(4))
    (gradient,) = tf.gradients(output, [generator])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(gradient).shape == (4, 4)


@pytest.mark.parametrize(
    "capabilities, exact", [([], False), ([(8, 6)], False), ([(9, 0)], True), ([(9, 0), (8, 9)], False)]
)
def test_the_device_decides_where_nobody_does(monkeypatch, capabilities, exact):
    """GPUs that are fast in float64 take Cholesky's factor of the whole matrix."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    cayley(tf.zeros([64, 64]), tf.zeros([64, 8]))
    factors = [node for node in tf.get_default_graph().get_operations() if node.type == "Cholesky"]
    assert (tf.float64 in {node.outputs[0].dtype for node in factors}) == exact


@pytest.mark.parametrize("algorithm", cayley.algorithms)
def test_a_batch_is_its_members(algorithm):
    batches.equals_its_members(functools.partial(cayley, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", cayley.algorithms)
def test_a_member_that_needs_a_slower_algorithm_leaves_the_others_alone(algorithm):
    batches.leaves_the_others_alone(functools.partial(cayley, algorithm=algorithm), 1e6 * generators.normal(20))


@pytest.mark.parametrize("bad, fault", [(np.full((20, 20), np.nan), "is not finite")])
@pytest.mark.parametrize("algorithm", cayley.algorithms)
def test_an_error_names_the_member(algorithm, bad, fault):
    batches.names_the_member(functools.partial(cayley, algorithm=algorithm), "cayley", bad, fault)


@pytest.mark.parametrize("algorithm", cayley.algorithms)
def test_a_batch_has_as_many_nodes_as_one(algorithm):
    batches.has_as_many_nodes(functools.partial(cayley, algorithm=algorithm))
