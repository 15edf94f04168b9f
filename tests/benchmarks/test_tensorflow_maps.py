"""Every map that takes part computes what it says it does."""

import pytest

from benchmarks import reference, tensorflow_maps
from opt_cp.cayley import cayley
from opt_ls.lowdin import lowdin

COMPETITORS = tensorflow_maps.competitors()


@pytest.mark.parametrize("name", [name for name in COMPETITORS if name != tensorflow_maps.PRODUCT])
def test_rotation_and_gradient(name):
    inputs = reference.inputs(9, 9, 0)
    generator, weights, upstream = [value.astype("float64") for value in inputs]
    rotation, gradient = getattr(reference, COMPETITORS[name].reference)(generator)
    case = tensorflow_maps.Case(name, inputs)
    assert reference.relative(case.gradient(), gradient(weights, upstream)) < 1e-3
    assert reference.relative(case.rotation(), rotation) < 1e-3
    case.close()


def test_nodes_of_a_product_and_of_unrolled_graphs():
    def nodes(name, size):
        return tensorflow_maps.Case(name, reference.inputs(size, 2, 0)).nodes

    assert nodes("product", 6) == 1
    assert nodes("cayley", 6) == nodes("cayley", 8)
    assert nodes("unrolled.gram_schmidt", 8) > nodes("unrolled.gram_schmidt", 6) + 20


def test_methods_are_those_that_the_map_offers():
    assert {"svd", "newton"} <= set(tensorflow_maps.methods(lowdin))
    for method in tensorflow_maps.methods(lowdin):
        tensorflow_maps.Case(f"lowdin:{method}", reference.inputs(4, 2, 0)).both()
    assert "auto" not in tensorflow_maps.methods(cayley)
