"""Gram-Schmidt against NumPy float64: values, gradients, sizes, conditions, scales, errors, graph."""

import functools

import numpy as np
import pytest

from common.compat import tf
from opt_gs.gram_schmidt import gram_schmidt
from tests.oracles import batches, generators, maps
from tests.oracles import orthonormal as oracle

LARGEST = 272
METHODS = ["block", "cholesky", "qr"]


def _plain(generator, weights):
    """The textbook form, differentiated by TensorFlow."""
    rotation, triangle = tf.linalg.qr(tf.transpose(generator))
    return tf.matmul(rotation * tf.sign(tf.linalg.diag_part(triangle)), weights, transpose_a=True)


def _by(method):
    return functools.partial(gram_schmidt, algorithm=method)


@maps.every_size
@pytest.mark.parametrize("method", METHODS)
def test_values_and_gradients_of_every_size(method, sizes):
    """float32's tolerance is rounding times a condition number of 1e3 or so; float64 shows that formulas are right."""
    sizes = [*sizes, LARGEST] if method != "qr" else [1, 2, 9, 64]
    cases = [maps.case(generators.normal(size), 1 + size % 3) for size in sizes]
    expected = [(oracle.gram_schmidt(case[0]) @ case[1], *oracle.gram_schmidt_gradient(*case)) for case in cases]
    for dtype, tolerance in ((tf.float32, 3e-3), (tf.float64, 1e-11)):
        for case, actual, wanted in zip(cases, maps.run(_by(method), cases, dtype), expected):
            for one, other in zip(actual, wanted):
                assert one.dtype == dtype.as_numpy_dtype
                assert np.linalg.norm(one - other) <= tolerance * max(np.linalg.norm(other), 1e-3), len(case[0])


def test_rows_are_a_triangular_combination_with_a_positive_diagonal():
    generator = generators.normal(LARGEST)
    (rotation,) = maps.rotations(gram_schmidt, [generator], tf.float64)
    lower = generator @ rotation.T
    assert np.abs(np.triu(lower, 1)).max() < 1e-12
    assert np.diag(lower).min() > 0


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_the_plain_form(method):
    cases = [maps.case(generators.normal(size), 5) for size in (2, 9, 64, 144)]
    for ours, plain in zip(maps.run(_by(method), cases, tf.float64), maps.run(_plain, cases, tf.float64)):
        for actual, expected in zip(ours, plain):
            assert maps.relative(actual, expected) < 1e-9


@pytest.mark.parametrize("size", [5, 64])
def test_gradient_is_the_slope(size):
    for difference, product in maps.slope(gram_schmidt, *maps.case(generators.normal(size), 4), step=1e-6):
        np.testing.assert_allclose(product, difference, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
def test_orthogonal_for_normal_and_for_ill_conditioned_generators(method, dtype, bound):
    for rotation in maps.rotations(_by(method), oracle.hard_generators(LARGEST), dtype):
        assert generators.orthogonality_error(rotation) < bound


@pytest.mark.parametrize("dtype, noise, bound", [(tf.float32, 1e-4, 1e-4), (tf.float64, 1e-9, 1e-11)])
def test_orthogonal_where_the_gram_matrix_is_singular_in_this_precision(dtype, noise, bound):
    (rotation,) = maps.rotations(gram_schmidt, [1 + noise * generators.normal(145)], dtype)
    assert generators.orthogonality_error(rotation) < bound


def test_ill_conditioned_generators_are_factored_backward_stably():
    generator = generators.with_condition(144, 1e6).astype(np.float32)
    (rotation,) = maps.rotations(gram_schmidt, [generator])
    assert np.linalg.norm(np.tril(generator @ rotation.T) @ rotation - generator) < 1e-5 * np.linalg.norm(generator)


@pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
def test_every_scale_gives_the_same_rotation(dtype, bound):
    generator = generators.normal(65)
    scales = [1, 1e-12, 1e12, np.logspace(-12, 12, 65)[:, np.newaxis]]
    rotations = maps.rotations(gram_schmidt, [scale * generator for scale in scales], dtype)
    for rotation in rotations:
        assert np.linalg.norm(rotation - rotations[0]) < bound
    cases = [maps.case(scale * generator, 3) for scale in scales]
    plain, *scaled = [of_generator for _, of_generator, _ in maps.run(gram_schmidt, cases, dtype)]
    for scale, of_generator in zip(scales[1:], scaled):
        assert maps.relative(of_generator.astype(np.float64) * scale, plain) < bound


@pytest.mark.parametrize(
    "generator",
    [np.eye(8), -np.eye(9), np.eye(130)[::-1], generators.orthogonal(70), generators.with_values([2, 2, 2, 1, 1, 1])],
)
def test_special_generators_are_finite_with_their_gradient(generator):
    case = maps.case(generator, 3)
    output, of_generator, of_weights = maps.run(gram_schmidt, [case])[0]
    expected_generator, expected_weights = oracle.gram_schmidt_gradient(*case)
    np.testing.assert_allclose(output, oracle.gram_schmidt(generator) @ case[1], atol=1e-5)
    np.testing.assert_allclose(of_generator, expected_generator, atol=1e-4)
    np.testing.assert_allclose(of_weights, expected_weights, atol=1e-5)


def test_two_maps_in_one_run_do_not_share_memory():
    """The factors are written in place: as many maps as there are layers, run again and again, must not meet."""
    values = [generators.normal(96, seed) for seed in range(4)] * 2
    outputs = [gram_schmidt(tf.constant(value, tf.float32), tf.eye(96)) for value in values]
    with tf.Session() as session:
        for _ in range(3):
            for value, rotation in zip(values, session.run(outputs)):
                np.testing.assert_allclose(rotation, oracle.gram_schmidt(value), atol=1e-3)


def test_as_many_nodes_for_every_size():
    """Very small matrices have fewer panels."""
    counts = {size: maps.nodes(gram_schmidt, size) for size in (27, 28, 65, 576, 1024)}
    assert len(set(counts.values())) == 1, counts
    assert maps.nodes(gram_schmidt, 1) < counts[27] <= 800


@pytest.mark.parametrize(
    "generator, weights, message",
    [
        ([3, 4], [3, 2], r"gram_schmidt: .*\(3, 4\)"),
        ([3], [3, 2], r"gram_schmidt: .*\(3,\)"),
        ([2, 3, 3], [3, 2], r"gram_schmidt: .*\(3, 2\), expected \[2, 3, m\]"),
        ([0, 0], [0, 2], r"gram_schmidt: .*\(0, 0\)"),
        ([3, 3], [4, 2], r"gram_schmidt: .*\(4, 2\)"),
        ([3, 3], [3], r"gram_schmidt: .*\(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(generator, weights, message):
    with pytest.raises(ValueError, match=message) as caught:
        gram_schmidt(tf.zeros(generator), tf.zeros(weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("types", [(tf.float32, tf.float64), (tf.int32, tf.int32)])
def test_types_that_do_not_fit_are_named(types):
    with pytest.raises(ValueError, match="gram_schmidt: .*(float32|int32)"):
        gram_schmidt(tf.zeros([3, 3], types[0]), tf.zeros([3, 2], types[1]))


def test_methods_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="gram_schmidt: .*'svd'.*block"):
        gram_schmidt(tf.zeros([3, 3]), tf.zeros([3, 2]), "svd")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_generators_that_are_not_finite_are_named(bad):
    generator = generators.normal(6)
    generator[1, 2] = bad
    with pytest.raises(tf.errors.InvalidArgumentError, match="gram_schmidt: .*not finite"):
        maps.rotations(gram_schmidt, [generator])


def _with_row(values):
    generator = generators.normal(100)
    generator[70] = values(generator)
    return generator


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "generator",
    [
        np.zeros((5, 5)),
        np.ones((70, 70)),
        _with_row(lambda rows: 0 * rows[3]),
        _with_row(lambda rows: -2 * rows[3]),
        _with_row(lambda rows: rows[:70].sum(0)),
        generators.normal(70)[:, :68] @ np.eye(68, 70),
        np.zeros((1, 1)),
        np.diag([1.0, 2.0, 0.0]),
    ],
    ids=["zero", "ones", "zero row", "parallel rows", "sum of rows", "two zero columns", "number", "last row"],
)
def test_singular_generators_are_named(method, generator):
    with pytest.raises(tf.errors.InvalidArgumentError, match="gram_schmidt: .*singular"):
        maps.rotations(_by(method), [generator])


@pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("last", oracle.LAST_ROWS.values(), ids=oracle.LAST_ROWS)
def test_a_last_row_that_depends_on_the_others_turns_round_at_most(method, dtype, tolerance, last):
    """Q and all gradients are those of a generator with any other last row, on one side or on the other."""
    generator = generators.with_condition(100, 30)
    cases = [maps.case(last(generator, dtype.as_numpy_dtype), 3)]
    (rotation,) = maps.rotations(_by(method), [cases[0][0]], dtype)
    assert generators.orthogonality_error(rotation) < tolerance
    ((output, of_generator, of_weights),) = maps.run(_by(method), cases, dtype)
    side = np.sign(rotation[-1] @ oracle.gram_schmidt(generator)[-1])
    other = np.concatenate([generator[:-1], side * generator[-1:]])
    expected = oracle.gram_schmidt_gradient(other, *cases[0][1:])
    assert maps.relative(output, oracle.gram_schmidt(other) @ cases[0][1]) < tolerance
    assert maps.relative(of_generator, expected[0]) < 10 * tolerance
    assert maps.relative(of_weights, expected[1]) < tolerance
    assert not of_generator[-1].any()


def test_the_last_row_turns_round_only_where_the_determinant_changes_its_sign():
    """As on a path of training: equal steps across det P = 0, the point on it included."""
    generator = generators.with_condition(100, 30)
    across = generator[-1] - generator[:-1].sum(0)
    path = [np.concatenate([generator[:-1], generator[:-1].sum(0, keepdims=True) + t * across]) for t in (-2, -1, 0, 1)]
    rotations = maps.rotations(gram_schmidt, path)
    expected = oracle.gram_schmidt(generator)
    for rotation, side in zip(rotations, (-1, -1, np.sign(rotations[2][-1] @ expected[-1]), 1)):
        assert np.linalg.norm(rotation[:-1] - expected[:-1]) < 1e-4
        np.testing.assert_allclose(rotation[-1], side * expected[-1], atol=1e-4)


def test_a_variable_can_be_the_generator():
    generator = tf.get_variable("P", initializer=tf.constant(generators.normal(4), tf.float32))
    output = gram_schmidt(generator, tf.eye(4))
    (gradient,) = tf.gradients(output, [generator])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(gradient).shape == (4, 4)


def _takes_qr(generators_to_try):
    """Returns for each generator whether the fast way was not enough and QR was run."""
    size = len(generators_to_try[0])
    generator = tf.placeholder(tf.float32, [size, size])
    output = gram_schmidt(generator, tf.eye(size))
    taken = []
    with tf.Session() as session:
        for value in generators_to_try:
            trace = tf.RunMetadata()
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            session.run(output, {generator: value}, options, trace)
            names = [node.node_name for device in trace.step_stats.dev_stats for node in device.node_stats]
            taken.append(any(name.endswith("Qr") for name in names))
    return taken


def test_ill_conditioned_generators_take_qr_and_normal_ones_do_not():
    normal = [generators.normal(144, seed) for seed in range(3)]
    hard = [1 + 1e-4 * generators.normal(144), generators.with_condition(144, 1e6)]
    assert _takes_qr([*normal, *hard]) == [False, False, False, True, True]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_left_of_the_last_row_may_be_anything_above_nothing(method):
    """Its inverse may overflow; no gradient needs it. A row before it that is nearly dependent makes others large."""
    generator = np.eye(40)
    generator[38, 37], generator[38, 38] = 1.0, 2e-6
    generator[39, 37], generator[39, 38], generator[39, 39] = 1.0, 1.0, 1e-35
    for output in maps.run(_by(method), [maps.case(generator, 3)])[0]:
        assert np.isfinite(output).all()


@pytest.mark.parametrize(
    "capabilities, exact", [([], False), ([(8, 6)], False), ([(9, 0)], True), ([(9, 0), (8, 9)], False)]
)
def test_the_device_decides_where_nobody_does(monkeypatch, capabilities, exact):
    """GPUs that are fast in float64 take Cholesky's factor of the whole matrix."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    gram_schmidt(tf.zeros([64, 64]), tf.zeros([64, 8]))
    factors = [node for node in tf.get_default_graph().get_operations() if node.type == "Cholesky"]
    assert (tf.float64 in {node.outputs[0].dtype for node in factors}) == exact


@pytest.mark.parametrize("algorithm", gram_schmidt.algorithms)
def test_a_batch_is_its_members(algorithm):
    batches.equals_its_members(_by(algorithm))


@pytest.mark.parametrize("algorithm", gram_schmidt.algorithms)
def test_a_member_that_needs_a_slower_algorithm_leaves_the_others_alone(algorithm):
    batches.leaves_the_others_alone(_by(algorithm), generators.with_condition(20, 1e6))


@pytest.mark.parametrize(
    "bad, fault",
    [
        (np.full((20, 20), np.nan), "is not finite"),
        (np.zeros((20, 20)), "is singular: a row is zero"),
        (np.ones((20, 20)), "is singular: a row depends on those before it"),
    ],
)
@pytest.mark.parametrize("algorithm", gram_schmidt.algorithms)
def test_an_error_names_the_member(algorithm, bad, fault):
    batches.names_the_member(_by(algorithm), "gram_schmidt", bad, fault)


@pytest.mark.parametrize("algorithm", gram_schmidt.algorithms)
def test_a_batch_has_as_many_nodes_as_one(algorithm):
    batches.has_as_many_nodes(_by(algorithm))
