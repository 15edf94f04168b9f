"""Gram-Schmidt against NumPy float64, and which rows are what of which."""

import numpy as np
import pytest

from common.compat import tf
from opt_gs.gram_schmidt import gram_schmidt
from tests.oracles import every_map, generators, maps
from tests.oracles import orthonormal as oracle


def _plain(generator, weights):
    rotation, triangle = tf.linalg.qr(tf.transpose(generator))
    return tf.matmul(rotation * tf.sign(tf.linalg.diag_part(triangle)), weights, transpose_a=True)


class TestGramSchmidt(every_map.TriangularMapTests):
    map, name = staticmethod(gram_schmidt), "gram_schmidt"
    rotation, gradient = staticmethod(oracle.gram_schmidt), staticmethod(oracle.gram_schmidt_gradient)
    plain = staticmethod(_plain)

    @pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
    @pytest.mark.parametrize("last", oracle.LAST_ROWS.values(), ids=oracle.LAST_ROWS)
    def test_a_last_row_that_depends_on_the_others_changes_its_sign_at_most(self, algorithm, dtype, tolerance, last):
        """Q and all gradients are those of a generator with any other last row, on one side or on the other."""
        generator = generators.with_condition(100, 30)
        cases = [maps.case(last(generator, dtype.as_numpy_dtype), 3)]
        (rotation,) = maps.rotations(self.by(algorithm), [cases[0][0]], dtype)
        assert generators.orthogonality_error(rotation) < tolerance
        ((output, of_generator, of_weights),) = maps.run(self.by(algorithm), cases, dtype)
        side = np.sign(rotation[-1] @ oracle.gram_schmidt(generator)[-1])
        other = np.concatenate([generator[:-1], side * generator[-1:]])
        expected = oracle.gram_schmidt_gradient(other, *cases[0][1:])
        assert maps.relative(output, oracle.gram_schmidt(other) @ cases[0][1]) < tolerance
        assert maps.relative(of_generator, expected[0]) < 10 * tolerance
        assert maps.relative(of_weights, expected[1]) < tolerance
        assert not of_generator[-1].any()

    def test_what_is_left_of_the_last_row_may_be_anything_above_nothing(self, algorithm):
        """Its inverse may overflow; no gradient needs it. A nearly dependent row before it makes others large."""
        generator = np.eye(40)
        generator[38, 37], generator[38, 38] = 1.0, 2e-6
        generator[39, 37], generator[39, 38], generator[39, 39] = 1.0, 1.0, 1e-35
        for output in maps.run(self.by(algorithm), [maps.case(generator, 3)])[0]:
            assert np.isfinite(output).all()


def test_the_last_row_changes_its_sign_only_where_the_determinant_does():
    """As on a path of training: equal steps across det P = 0, the point on it included."""
    generator = generators.with_condition(100, 30)
    across = generator[-1] - generator[:-1].sum(0)
    path = [np.concatenate([generator[:-1], generator[:-1].sum(0, keepdims=True) + t * across]) for t in (-2, -1, 0, 1)]
    rotations = maps.rotations(gram_schmidt, path)
    expected = oracle.gram_schmidt(generator)
    for rotation, side in zip(rotations, (-1, -1, np.sign(rotations[2][-1] @ expected[-1]), 1)):
        assert np.linalg.norm(rotation[:-1] - expected[:-1]) < 1e-4
        np.testing.assert_allclose(rotation[-1], side * expected[-1], atol=1e-4)


def _takes_qr(generators_to_try):
    """Returns for each generator whether the fast algorithm was not enough and QR was run."""
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
