"""What holds for every orthogonal map: tests that a map's own file inherits, as `class TestCayley(MapTests)`."""

import functools

import numpy as np
import pytest

from common.compat import tf
from tests.oracles import generators, maps, orthonormal

LARGEST, COUNT = 272, 5
GPUS = [([], False), ([(8, 6)], False), ([(9, 0)], True), ([(9, 0), (8, 9)], False)]  # compute capabilities


def batch():
    """(generator [5, 20, 20], weights, upstream)."""
    cases = [maps.case(generators.normal(20, index), 3, index) for index in range(COUNT)]
    return [np.stack(values) for values in zip(*cases)]


class MapTests:
    """A test that takes `algorithm` runs for each algorithm of the map but auto.

    Attributes of a subclass:
      map, name: the map, and what it is called in its errors.
      rotation, gradient: the oracles Q of P, and gradients of (generator, weights, upstream).
      plain: the textbook form, differentiated by TensorFlow.
      tolerances: of values and gradients in float32 and float64.
      most_nodes: of map and gradient.
      hard: a generator [20, 20] that needs a slower algorithm than others.
      faults: pairs of a bad generator [20, 20] and what is said of it.
    """

    hard = generators.with_condition(20, 1e6)
    faults = ((np.full((20, 20), np.nan), "is not finite"),)

    def pytest_generate_tests(self, metafunc):
        if "algorithm" in metafunc.fixturenames:
            metafunc.parametrize("algorithm", [name for name in self.map.algorithms if name != "auto"])

    def by(self, algorithm):
        """Returns the map with an algorithm."""
        return functools.partial(self.map, algorithm=algorithm)

    def hard_generators(self, size):
        """Returns generators whose rotations have to be orthogonal."""
        return [*(generators.normal(size, seed) for seed in (0, 1)),
                *(generators.with_condition(size, condition) for condition in (1e3, 1e4, 1e6))]  # fmt: skip

    @maps.every_size
    def test_values_and_gradients_of_every_size(self, algorithm, sizes):
        """float32's tolerance is rounding times a condition number; float64 shows that formulas are right."""
        for dtype, tolerance, more in zip((tf.float32, tf.float64), self.tolerances, ([LARGEST], [])):
            cases = [maps.case(generators.normal(size), 1 + 3 * (size % 3)) for size in [*sizes, *more]]
            for case, actual in zip(cases, maps.run(self.by(algorithm), cases, dtype)):
                for one, other in zip(actual, (self.rotation(case[0]) @ case[1], *self.gradient(*case))):
                    assert one.dtype == dtype.as_numpy_dtype
                    assert np.linalg.norm(one - other) <= tolerance * max(np.linalg.norm(other), 1e-3), len(case[0])

    def test_gradient_is_that_of_the_plain_form(self, algorithm):
        cases = [maps.case(generators.normal(size), 5) for size in (2, 9, 64)]
        both = [maps.run(form, cases, tf.float64) for form in (self.by(algorithm), self.plain)]
        for ours, plain in zip(*both):
            for actual, expected in zip(ours, plain):
                assert maps.relative(actual, expected) < 1e-9

    @pytest.mark.parametrize("size", [5, 64])
    def test_gradient_is_the_slope(self, algorithm, size):
        for difference, product in maps.slope(self.by(algorithm), *maps.case(generators.normal(size), 4), step=1e-6):
            np.testing.assert_allclose(product, difference, rtol=1e-5)

    @pytest.mark.parametrize("dtype, size, bound", [(tf.float32, LARGEST, 1e-4), (tf.float64, 144, 1e-11)])
    def test_orthogonal_for_normal_and_for_ill_conditioned_generators(self, algorithm, dtype, size, bound):
        for rotation in maps.rotations(self.by(algorithm), self.hard_generators(size), dtype):
            assert generators.orthogonality_error(rotation) < bound

    def test_as_many_nodes_for_every_size(self, algorithm):
        counts = {size: maps.nodes(self.by(algorithm), size) for size in (27, 28, 65, 145, 576, 1024)}
        assert len(set(counts.values())) == 1, counts
        most = self.most_nodes[algorithm] if isinstance(self.most_nodes, dict) else self.most_nodes
        assert maps.nodes(self.by(algorithm), 1) <= counts[27] <= most

    def test_algorithms_that_do_not_exist_are_named(self):
        known = ", ".join(self.map.algorithms)
        with pytest.raises(ValueError, match=f"{self.name}: the algorithm is 'lu', expected one of {known}"):
            self.map(tf.zeros([3, 3]), tf.zeros([3, 2]), "lu")

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_generators_that_are_not_finite_are_named(self, algorithm, bad):
        generator = generators.normal(6)
        generator[1, 2] = bad
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{self.name}: .*not finite"):
            maps.rotations(self.by(algorithm), [generator])

    def test_a_variable_can_be_the_generator(self):
        generator = tf.get_variable("P", initializer=tf.constant(generators.normal(4), tf.float32))
        (gradient,) = tf.gradients(self.map(generator, tf.eye(4)), [generator])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assert session.run(gradient).shape == (4, 4)

    @pytest.mark.parametrize("capabilities, exact", GPUS)
    def test_the_device_decides_where_nobody_does(self, monkeypatch, capabilities, exact):
        """GPUs that are fast in float64 take Cholesky's factor of the whole matrix."""
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
        self.map(tf.zeros([64, 64]), tf.zeros([64, 8]))
        factors = [node for node in tf.get_default_graph().get_operations() if node.type == "Cholesky"]
        assert (tf.float64 in {node.outputs[0].dtype for node in factors}) == exact

    def test_a_batch_is_its_members(self, algorithm):
        """A batch gives what a call for each member gives, forward and backward; two batch dimensions as one."""
        tolerance = 1e-6 if self.name == "lowdin" else 1e-11
        folded = [np.stack([value, value[::-1]]) for value in batch()]
        one, two = maps.run(self.by(algorithm), [batch(), folded], tf.float64)
        singles = maps.run(self.by(algorithm), list(zip(*batch())), tf.float64)
        for whole, twice, single in zip(one, two, zip(*singles)):
            close = {"rtol": tolerance, "atol": tolerance * np.abs(whole).max()}
            np.testing.assert_allclose(whole, single, **close)
            np.testing.assert_allclose(twice, [whole, whole[::-1]], **close)

    def test_a_member_that_needs_a_slower_algorithm_leaves_the_others_alone(self, algorithm, index=2):
        """Not a bit of the others changes, and its own are as right as alone."""
        mixed = batch()
        mixed[0][index] = self.hard
        expected, found = maps.run(self.by(algorithm), [batch(), mixed])
        (alone,) = maps.run(self.by(algorithm), [[value[index] for value in mixed]])
        others = np.arange(COUNT) != index
        for value, other, single in zip(found, expected, alone):
            np.testing.assert_array_equal(value[others], other[others])
            np.testing.assert_allclose(value[index], single, rtol=1e-4, atol=1e-4 * np.abs(single).max())

    def test_an_error_names_the_member(self, algorithm):
        """By its name, by its number, or not at all if there is but one."""
        names = ["conv1_0", "conv1_1", "conv2_0", "conv2_1", "conv3_0"]
        for bad, fault in self.faults:
            stack, weights, _ = batch()
            stack[3] = bad
            for generator, right, known, subject in (
                (stack, weights, names, "the generator of conv2_1"),
                (stack, weights, None, "the generator of member 3 of the batch"),
                (stack[3], weights[3], None, "the generator"),
                (stack[3], weights[3], ["fc6"], "the generator of fc6"),
            ):
                given = tf.constant(generator, tf.float32), tf.constant(right, tf.float32)
                result = self.by(algorithm)(*given, names=known)
                message = f"{self.name}: {subject} {fault}"
                with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError, match=message):
                    session.run(result)

    def test_a_batch_has_as_many_nodes_as_one(self, algorithm):
        assert len({maps.nodes(self.by(algorithm), 64, 8, batch=[size]) for size in (1, 2, 5)}) == 1


def _with_row(values):
    generator = generators.normal(100)
    generator[70] = values(generator)
    return generator


SINGULAR = {
    "zero": np.zeros((5, 5)),
    "ones": np.ones((70, 70)),
    "a zero row": _with_row(lambda rows: 0 * rows[3]),
    "parallel rows": _with_row(lambda rows: -2 * rows[3]),
    "a sum of rows": _with_row(lambda rows: rows[:70].sum(0)),
    "two zero columns": generators.normal(70)[:, :68] @ np.eye(68, 70),
    "a number": np.zeros((1, 1)),
    "the last row": np.diag([1.0, 2.0, 0.0]),
}


class TriangularMapTests(MapTests):
    """Maps of which Q is a factor of P, the other being triangular: Gram-Schmidt of the rows, QR of the columns.

    Attributes of a subclass, besides: across(matrix) makes rows what the map orthonormalises, each of which is a
    `vector` of the matrix.
    """

    across, vector = staticmethod(np.asarray), "row"
    tolerances, most_nodes = (3e-3, 1e-11), 800

    @property
    def faults(self):
        yield np.full((20, 20), np.nan), "is not finite"
        yield np.zeros((20, 20)), f"is singular: a {self.vector} is zero"
        yield np.ones((20, 20)), f"is singular: a {self.vector} depends on those before it"

    def hard_generators(self, size):
        return orthonormal.hard_generators(size)

    @pytest.mark.parametrize("dtype, noise, bound", [(tf.float32, 1e-4, 1e-4), (tf.float64, 1e-9, 1e-11)])
    def test_orthogonal_where_the_gram_matrix_is_singular_in_this_precision(self, dtype, noise, bound):
        (rotation,) = maps.rotations(self.map, [1 + noise * generators.normal(145)], dtype)
        assert generators.orthogonality_error(rotation) < bound

    def test_ill_conditioned_generators_are_factored_backward_stably(self):
        generator = generators.with_condition(144, 1e6).astype(np.float32)
        (rotation,) = maps.rotations(self.map, [self.across(generator)])
        rotation = self.across(rotation)
        assert np.linalg.norm(np.tril(generator @ rotation.T) @ rotation - generator) < 1e-5 * np.linalg.norm(generator)

    @pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
    def test_every_scale_gives_the_same_rotation(self, dtype, bound):
        generator = generators.normal(65)
        scales = [1, 1e-12, 1e12, self.across(np.logspace(-12, 12, 65)[:, np.newaxis])]
        cases = [maps.case(scale * generator, 3) for scale in scales]
        (output, plain, _), *scaled = maps.run(self.map, cases, dtype)
        for scale, (same, of_generator, _) in zip(scales[1:], scaled):
            assert maps.relative(same, output) < bound
            assert maps.relative(of_generator.astype(np.float64) * scale, plain) < bound

    @pytest.mark.parametrize("generator", [
        np.eye(8), -np.eye(9), np.eye(130)[::-1], generators.orthogonal(70), generators.with_values([2, 2, 2, 1, 1, 1])
    ])  # fmt: skip
    def test_special_generators_are_finite_with_their_gradient(self, generator):
        case = maps.case(generator, 3)
        (actual,) = maps.run(self.map, [case])
        for value, expected in zip(actual, (self.rotation(generator) @ case[1], *self.gradient(*case))):
            np.testing.assert_allclose(value, expected, atol=1e-4)

    def test_two_maps_in_one_run_do_not_share_memory(self):
        """The factors are written in place: as many maps as there are layers, run again and again, must not meet."""
        values = [generators.normal(96, seed) for seed in range(4)] * 2
        outputs = [self.map(tf.constant(value, tf.float32), tf.eye(96)) for value in values]
        with tf.Session() as session:
            for _ in range(3):
                for value, rotation in zip(values, session.run(outputs)):
                    np.testing.assert_allclose(rotation, self.rotation(value), atol=1e-3)

    @pytest.mark.parametrize("generator", SINGULAR.values(), ids=SINGULAR)
    def test_singular_generators_are_named(self, algorithm, generator):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{self.name}: .*singular"):
            maps.rotations(self.by(algorithm), [self.across(generator)])
