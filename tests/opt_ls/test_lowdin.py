"""Löwdin's map against NumPy float64: values, gradients, sizes, scales, condition, errors, graph."""

import functools
import itertools

import numpy as np
import pytest

from common.compat import tf
from opt_ls.lowdin import lowdin
from tests.oracles import batches, generators, maps
from tests.oracles import polar as oracle

METHODS = ["svd", "newton", "rational", "polynomial"]
MOST_NODES = {"svd": 120, "newton": 420, "rational": 1400, "polynomial": 780}
LARGEST = 272


def _by(method):
    return functools.partial(lowdin, algorithm=method)


def _rounded(generator):
    """What float32 makes of it, in float64: NumPy then decomposes the matrix that the map is given."""
    return generator.astype(np.float32).astype(np.float64)


def _plain(generator, weights):
    """The textbook form, differentiated by TensorFlow (singular values are distinct)."""
    _, left, right = tf.linalg.svd(generator)
    return left @ tf.transpose(right) @ weights


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-3), (tf.float64, 1e-11)])
@maps.every_size
def test_values_and_gradients_of_every_size(method, dtype, tolerance, sizes):
    cases = [maps.case(generators.normal(size), 1 + 3 * (size % 3)) for size in sizes]
    if dtype == tf.float32:  # in float64 what differs is the precision, not the path
        cases.append(maps.case(generators.normal(LARGEST), 64))
    for case, (output, of_generator, of_weights) in zip(cases, maps.run(_by(method), cases, dtype)):
        generator, weights, upstream = case
        expected_generator, expected_weights = oracle.gradient(*case)
        assert output.dtype == dtype.as_numpy_dtype
        assert maps.relative(output, oracle.rotation(generator) @ weights) < tolerance, len(generator)
        assert maps.relative(of_weights, expected_weights) < tolerance, len(generator)
        if len(generator) > 1:  # a single entry turns by its sign alone: its gradient is 0
            assert maps.relative(of_generator, expected_generator) < tolerance, len(generator)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_the_plain_form(method):
    cases = [maps.case(generators.normal(size), 5) for size in (2, 9, 64)]
    for ours, plain in zip(maps.run(_by(method), cases, tf.float64), maps.run(_plain, cases, tf.float64)):
        for actual, expected in zip(ours, plain):
            np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [5, 64])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_the_slope(method, size):
    for difference, product in maps.slope(_by(method), *maps.case(generators.normal(size), 4), step=1e-6):
        np.testing.assert_allclose(product, difference, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype, size, bound", [(tf.float32, LARGEST, 1e-4), (tf.float64, 144, 1e-11)])
def test_orthogonal_for_normal_and_for_ill_conditioned_generators(method, dtype, size, bound):
    values = [generators.normal(size)]
    values += [generators.with_condition(size, condition) for condition in (1e3, 1e4, 1e6)]
    for rotation in maps.rotations(_by(method), values, dtype):
        assert generators.orthogonality_error(rotation) < bound


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
def test_the_scale_does_not_matter(method, dtype, bound):
    scales = [*10.0 ** np.arange(-12, 13, 6), 1e37]
    values = [scale * generators.normal(size) for scale in scales for size in (1, 3, 64)]
    for generator, rotation in zip(values, maps.rotations(_by(method), values, dtype)):
        assert generators.orthogonality_error(rotation) < bound, (len(generator), np.abs(generator).max())


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_scales_with_the_inverse(method, scale):
    generator, weights, upstream = maps.case(generators.normal(27), 5)
    ((_, gradient, _),) = maps.run(_by(method), [(scale * generator, weights, upstream)])
    assert maps.relative(gradient * scale, oracle.gradient(generator, weights, upstream)[0]) < 1e-3


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("method", METHODS)
def test_equal_singular_values(method, size):
    """The gradient of the decomposition is not finite here; the map's own is."""
    pairs = generators.with_values(np.ceil(np.arange(1, size + 1) / 2))
    values = [np.eye(size), 3 * generators.orthogonal(size), pairs]
    cases = [maps.case(value, 4) for value in values]
    for case, (output, of_generator, of_weights) in zip(cases, maps.run(_by(method), cases)):
        expected_generator, expected_weights = oracle.gradient(*case)
        np.testing.assert_allclose(output, oracle.rotation(case[0]) @ case[1], atol=1e-4)
        np.testing.assert_allclose(of_generator, expected_generator, atol=1e-3)
        np.testing.assert_allclose(of_weights, expected_weights, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_identity_and_reflections_are_exact(method):
    values = [np.eye(9), -np.eye(9), np.eye(9)[::-1], np.diag([1.0, -1.0, 2.0, -3.0])]
    for value, rotation in zip(values, maps.rotations(_by(method), values)):
        np.testing.assert_allclose(rotation, np.sign(value), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_as_many_nodes_for_every_size(method):
    counts = {size: maps.nodes(_by(method), size) for size in (27, 28, 65, 64, 145, 576, 1024)}
    assert len(set(counts.values())) == 1, counts
    assert counts[27] <= MOST_NODES[method]


@pytest.mark.parametrize(
    "generator, weights, message",
    [
        ([3, 4], [3, 2], r"lowdin: .*\(3, 4\)"),
        ([3], [3, 2], r"lowdin: .*\(3,\)"),
        ([2, 3, 3], [3, 2], r"lowdin: .*\(3, 2\), expected \[2, 3, m\]"),
        ([0, 0], [0, 2], r"lowdin: .*\(0, 0\)"),
        ([3, 3], [4, 2], r"lowdin: .*\(4, 2\)"),
        ([3, 3], [3], r"lowdin: .*\(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(generator, weights, message):
    with pytest.raises(ValueError, match=message) as caught:
        lowdin(tf.zeros(generator), tf.zeros(weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("types", [(tf.float32, tf.float64), (tf.int32, tf.int32)])
def test_types_that_do_not_fit_are_named(types):
    with pytest.raises(ValueError, match="lowdin: .*(float32|int32)"):
        lowdin(tf.zeros([3, 3], types[0]), tf.zeros([3, 2], types[1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_generators_that_are_not_finite_are_named(method, bad):
    generator = generators.normal(6)
    generator[1, 2] = bad
    with pytest.raises(tf.errors.InvalidArgumentError, match="lowdin: .*not finite"):
        maps.rotations(_by(method), [generator])


_SINGULAR = [np.zeros((4, 4)), np.diag([1.0, 0.0, 2.0, 0.0]), np.zeros((1, 1)), np.ones((7, 7))]


@pytest.mark.parametrize("method, singular", itertools.product(METHODS, _SINGULAR))
def test_singular_generators_are_named(method, singular):
    with pytest.raises(tf.errors.InvalidArgumentError, match="lowdin[:_].*singular"):
        maps.rotations(_by(method), [singular])


@pytest.mark.parametrize("row", [0, 2, 4])
@pytest.mark.parametrize("of_others", ["the next one", "zero"])
@pytest.mark.parametrize("method", ["svd", "newton", "rational"])
def test_a_row_that_depends_exactly_on_the_others(method, of_others, row):
    """What is left of it is zero, not a rounding error: L's inverse is not finite then."""
    singular = np.eye(5)
    singular[row] = singular[(row + 1) % 5] if of_others != "zero" else 0.0
    (rotation,) = maps.rotations(_by(method), [singular])
    assert generators.orthogonality_error(rotation) < 1e-5
    symmetric = rotation.T @ singular
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-6)
    assert np.linalg.eigvalsh(symmetric).min() > -1e-6


@pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-4), (tf.float64, 1e-6)])
@pytest.mark.parametrize("least", [0.0, 1e-7])
@pytest.mark.parametrize("size", [2, 3, 65, 100])
@pytest.mark.parametrize("method", METHODS)
def test_one_singular_value_may_be_zero(method, size, least, dtype, tolerance):
    """Q and all gradients are the limits from one side of det P = 0; from the other the zero's vectors turn round."""
    by_newton = method == "newton" or method == "polynomial" and dtype == tf.float64
    if by_newton and not least and size < 65:
        pytest.skip("TensorFlow's inverse may find the last pivot of so small a matrix to be exactly zero")
    sides = (-1, 1) if not least or dtype == tf.float32 else (1,)  # in float32 rounding hides on which side 1e-7 is
    near = [generators.with_values([*np.geomspace(1, 0.1, size - 1), side * 1e-8]) for side in sides]
    singular = generators.with_values([*np.geomspace(1, 0.1, size - 1), least]).astype(dtype.as_numpy_dtype)
    (rotation,) = maps.rotations(_by(method), [singular], dtype)
    case = maps.case(singular, 3)
    ((output, of_generator, of_weights),) = maps.run(_by(method), [case], dtype)
    side = min(near, key=lambda generator: np.linalg.norm(oracle.rotation(generator) - rotation))
    expected_generator, expected_weights = oracle.gradient(side, *case[1:])
    assert maps.relative(output, oracle.rotation(side) @ case[1]) < tolerance
    assert maps.relative(of_generator, expected_generator) < 10 * tolerance
    assert maps.relative(of_weights, expected_weights) < tolerance


def test_a_variable_can_be_the_generator():
    generator = tf.get_variable("P", initializer=tf.constant(generators.normal(4), tf.float32))
    output = lowdin(generator, tf.eye(4))
    (gradient,) = tf.gradients(output, [generator])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(gradient).shape == (4, 4)


def test_methods_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="lowdin: .*'qr'.*svd"):
        lowdin(tf.eye(3), tf.eye(3), algorithm="qr")


@pytest.mark.parametrize(
    "graphics, size, columns, dtype, method",
    [
        ([], 3, 3, tf.float32, "svd"),
        ([], 288, 64, tf.float32, "rational"),
        ([], 288, 288, tf.float32, "svd"),
        ([], 288, 64, tf.float64, "svd"),
        ([(8, 6)], 3, 3, tf.float32, "newton"),
        ([(8, 6)], 288, 64, tf.float32, "newton"),
        ([(9, 0)], 288, 64, tf.float32, "polynomial"),
        ([(9, 0)], 288, 64, tf.float64, "newton"),
        ([(9, 0), (8, 6)], 288, 64, tf.float32, "newton"),
    ],
)
def test_device_and_shape_decide_where_nobody_does(monkeypatch, graphics, size, columns, dtype, method):
    """`graphics` are the compute capabilities of the GPUs that there are."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: graphics)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    lowdin(tf.zeros([size, size], dtype), tf.zeros([size, columns], dtype))
    kinds = {operation.type for operation in tf.get_default_graph().get_operations()}
    text = str(tf.get_default_graph().as_graph_def())
    assert ("Svd" in kinds, "Cholesky" in text, "TensorListSetItem" in text or "While" in text) == (
        method == "svd",
        method == "rational",
        method == "newton",
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("condition, bound", [(1, 1e-5), (1e3, 1e-3), (1e4, 1e-2), (1e6, 0.2)])
def test_gradients_of_ill_conditioned_generators(method, condition, bound):
    """The map itself passes on the rounding of its argument: condition number times 6e-8 in the smallest directions."""
    generator = generators.with_condition(144, condition).astype(np.float32)
    case = maps.case(generator, 16)
    ((output, of_generator, of_weights),) = maps.run(_by(method), [case])
    expected_generator, expected_weights = oracle.gradient(*case)
    assert maps.relative(output, oracle.rotation(generator) @ case[1]) < bound
    assert maps.relative(of_generator, expected_generator) < bound
    assert maps.relative(of_weights, expected_weights) < bound


@pytest.mark.parametrize("method", ["newton", "rational"])
@pytest.mark.parametrize("size, condition", [(27, 1e7), (144, 5e6)])
def test_singular_values_that_replace_a_faster_way_are_those_of_float64(method, size, condition):
    """In float32 TensorFlow's decomposition makes several of these zero."""
    case = maps.case(_rounded(generators.with_condition(size, condition)), 4)
    ((output, of_generator, _),) = maps.run(_by(method), [case])
    assert maps.relative(output, oracle.rotation(case[0]) @ case[1]) < 1e-6
    assert maps.relative(of_generator, oracle.gradient(*case)[0]) < 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("condition, bound", [(1e3, 1e-3), (1e4, 5e-3), (1e5, 5e-2)])
def test_gradients_where_one_singular_value_is_small(method, condition, bound):
    generator = _rounded(generators.with_values([*np.geomspace(1, 0.1, 99), 1 / condition]))
    case = maps.case(generator, 16)
    ((output, of_generator, of_weights),) = maps.run(_by(method), [case])
    expected_generator, expected_weights = oracle.gradient(*case)
    assert maps.relative(output, oracle.rotation(generator) @ case[1]) < 1e-5
    assert maps.relative(of_generator, expected_generator) < bound
    assert maps.relative(of_weights, expected_weights) < 1e-5


@pytest.mark.parametrize("algorithm", lowdin.algorithms)
def test_a_batch_is_its_members(algorithm):
    batches.equals_its_members(_by(algorithm), 1e-6)


@pytest.mark.parametrize("algorithm", lowdin.algorithms)
def test_a_member_that_needs_a_slower_algorithm_leaves_the_others_alone(algorithm):
    batches.leaves_the_others_alone(_by(algorithm), generators.with_condition(20, 1e6))


@pytest.mark.parametrize(
    "bad, fault",
    [
        (np.full((20, 20), np.nan), "is not finite"),
        (np.zeros((20, 20)), "is singular"),
        (np.ones((20, 20)), "is singular"),
    ],
)
@pytest.mark.parametrize("algorithm", lowdin.algorithms)
def test_an_error_names_the_member(algorithm, bad, fault):
    batches.names_the_member(_by(algorithm), "lowdin", bad, fault)


@pytest.mark.parametrize("algorithm", lowdin.algorithms)
def test_a_batch_has_as_many_nodes_as_one(algorithm):
    batches.has_as_many_nodes(_by(algorithm))
