"""Every map that takes part computes what it says it does."""

import numpy as np
import pytest

from benchmarks import maps, reference, tensorflow_maps

COMPETITORS = tensorflow_maps.competitors()


@pytest.mark.parametrize("name", [name for name in COMPETITORS if name != tensorflow_maps.PRODUCT])
def test_result_and_gradient(name):
    inputs = reference.inputs(9, 5, 0)
    generator, weights, upstream = [value.astype("float64") for value in inputs]
    rotation, gradient = getattr(reference, COMPETITORS[name][1])(generator)
    case = tensorflow_maps.Case(name, inputs)
    result, of_generator = case.results()
    assert reference.relative(result, rotation @ weights) < 1e-3
    assert reference.relative(of_generator, gradient(weights, upstream)) < 1e-3
    errors = maps._errors(COMPETITORS[name][1], (9, 5, 0), result, of_generator)
    assert max(errors.values()) < 1e-3
    case.close()


def test_maps_are_those_of_the_methods_with_their_algorithms():
    ours = {name for name, (group, _, _) in COMPETITORS.items() if group == "ours"}
    assert {"cayley", "gram_schmidt", "householder", "lowdin", "lowdin:svd", "cayley:cholesky"} <= ours
    assert "matmul" not in ours  # of opt_ogd and UPT: no maps


def test_orthogonality_is_zero_for_a_rotation_and_not_for_a_scaled_one():
    rotation = np.linalg.qr(np.random.RandomState(0).normal(size=[9, 9]))[0]
    weights = reference.inputs(9, 5, 0)[1]
    assert maps._errors(None, (9, 5, 0), rotation @ weights, None)["orthogonality"] < 1e-6
    assert maps._errors(None, (9, 5, 0), 2 * rotation @ weights, None)["orthogonality"] == pytest.approx(3.0, rel=1e-5)


def test_nodes_do_not_depend_on_the_size():
    sizes = {size: tensorflow_maps.Case("product", reference.inputs(size, 2, 0)).nodes for size in (6, 8)}
    assert sizes == {6: 1, 8: 1}
