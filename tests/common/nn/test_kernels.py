"""Kernel factories and batches of maps: what they create, and what is computed together."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn import kernels, map_batches
from common.nn.kernels import Factory, Kernel, Layer, Place, Plan

SHAPE = (3, 3, 4, 5)


def build(factory, shape=SHAPE, scope="layer"):
    return build_all(factory, {scope: shape})[scope]


def build_all(factory, shapes, dtype=tf.float64):
    layers = tuple(Layer(scope, shape) for scope, shape in shapes.items())
    return kernels.build(Plan(layers, tuple(shapes)), lambda layer: factory, dtype)


def evaluate(*tensors):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors)


def test_plain_is_the_variable():
    kernel = build(kernels.plain(name="filter"))
    (variable,) = variables.with_role(Role.WEIGHT)
    assert variable.op.name == "layer/filter"
    np.testing.assert_array_equal(*evaluate(kernel.tensor, variable))
    assert kernel.degrees_of_freedom == 180 and kernel.rotate is None


def test_unit_norm_is_on_the_manifold():
    build(kernels.unit_norm())
    assert [variable.op.name for variable in variables.with_role(Role.UNIT_KERNEL)] == ["layer/weight"]


def test_rotated_is_the_map_of_the_fixed_matrix():
    kernel = build(kernels.rotated(tf.matmul))
    (fixed,), (generator,) = variables.with_role(Role.FIXED), variables.with_role(Role.GENERATOR)
    assert (fixed.op.name, fixed.shape.as_list()) == ("layer/fix", [36, 5])
    assert (generator.op.name, generator.shape.as_list()) == ("layer/rotation", [36, 36])
    assert variables.trainable() == [generator]
    tensor, weights, matrix = evaluate(kernel.tensor, fixed, generator)
    np.testing.assert_allclose(tensor, (matrix @ weights).reshape(SHAPE), rtol=1e-12)
    assert kernel.degrees_of_freedom == 36 * 35 // 2


def test_free_starts_as_ordinary_random_weights():
    kernel = build(kernels.free())
    tensor, weights = evaluate(kernel.tensor, variables.with_role(Role.FIXED)[0])
    np.testing.assert_array_equal(tensor, weights.reshape(SHAPE))
    assert kernel.degrees_of_freedom == 36 * 36


def test_rotation_itself_is_the_map_of_the_identity():
    kernel = build(kernels.rotated(doubled))
    rotation, generator = evaluate(kernels.rotation(kernel.rotate, kernel.generator), kernel.generator)
    np.testing.assert_allclose(rotation, 2 * generator, rtol=1e-12)


CALLS = []


def doubled(generator, weights, names=None):
    CALLS.append((generator.shape.as_list(), weights.shape.as_list(), names))
    return 2.0 * generator @ weights


def test_layers_of_one_size_are_one_call_and_narrow_ones_are_filled_up_with_zeros():
    CALLS.clear()
    shapes = {"a": (3, 3, 1, 5), "b": (4, 2), "c": (1, 1, 9, 3), "d": (9, 5)}
    found = build_all(kernels.rotated(doubled), shapes)
    assert CALLS == [([3, 9, 9], [3, 9, 5], ["a", "c", "d"]), ([4, 4], [4, 2], ["b"])]
    assert list(found) == list(shapes)
    fixed = {variable.op.name[0]: variable for variable in variables.with_role(Role.FIXED)}
    for scope, kernel in found.items():
        tensor, matrix, weights = evaluate(kernel.tensor, kernel.generator, fixed[scope])
        np.testing.assert_allclose(tensor, (2 * matrix @ weights).reshape(shapes[scope]), rtol=1e-12)


def test_a_large_stack_is_computed_in_parts_one_after_another(monkeypatch):
    monkeypatch.setattr(map_batches, "_MOST_BYTES", 2 * 9 * 9 * 8)
    CALLS.clear()
    build_all(kernels.rotated(doubled), {scope: (9, 5) for scope in "abcdefg"})
    assert [names for _, _, names in CALLS] == [["a", "b"], ["c", "d"], ["e", "f"], ["g"]]


def test_pull_back_is_the_gradient_of_each_generator():
    """Y = P^2 W of two layers of one size and one of another: P' = P^T G + G P^T with G = upstream W^T."""
    found = build_all(kernels.rotated(lambda p, w: p @ (p @ w)), {"a": (9, 5), "b": (9, 3), "c": (4, 3)})
    rng = np.random.default_rng(0)
    upstream = [rng.normal(size=kernel.rotated.shape) for kernel in found.values()]
    generators = [kernel.generator for kernel in found.values()]
    results = [kernel.rotated for kernel in found.values()]
    gradients = map_batches.pull_back(results, generators, [tf.constant(one) for one in upstream])
    for gradient, p, w, of_result in zip(*evaluate(gradients, generators, variables.with_role(Role.FIXED)), upstream):
        g = of_result @ w.T
        np.testing.assert_allclose(gradient, p.T @ g + g @ p.T, rtol=1e-10)


def test_a_factory_serves_a_layer_of_somebody_s_own_program():
    with tf.variable_scope("own"):
        tensor = kernels.rotated(doubled)([7, 5], tf.float64)
    assert CALLS[-1][-1] == ["own"]
    kernel, weights, matrix = evaluate(tensor, variables.with_role(Role.FIXED)[0], variables.trainable()[0])
    np.testing.assert_allclose(kernel, 2 * matrix @ weights, rtol=1e-12)
    with tf.variable_scope("own"), pytest.raises(ValueError, match="own/fix already exists"):
        kernels.rotated(doubled)([7, 5], tf.float64)


class Scaled(Factory):
    """A new factory is two functions."""

    def create(self, shape, dtype=tf.float32):
        return variables.create("scale", shape, Role.WEIGHT, initializers.ones, dtype)

    def compute(self, created, names):
        return [Kernel(3.0 * variable, 1) for variable in created]


def test_a_new_factory_needs_two_functions():
    kernel = build(Scaled())
    np.testing.assert_array_equal(evaluate(kernel.tensor)[0], np.full(SHAPE, 3.0))


def test_by_place_leaves_plain_layers_ordinary():
    inner, first = kernels.free(), kernels.free()
    factory_of = kernels.by_place(inner, first)
    assert factory_of(Layer("a", SHAPE, Place.FIRST)) is first and factory_of(Layer("a", SHAPE)) is inner
    assert kernels.by_place(inner)(Layer("a", SHAPE, Place.FIRST)) is inner
    factory_of(Layer("score", SHAPE, Place.PLAIN, "filter")).create(SHAPE)
    assert variables.with_role(Role.WEIGHT)[0].op.name == "filter"


def test_a_plan_knows_kernels_and_the_order_of_variables():
    def network(images, classes, ask, mode):
        with tf.variable_scope("one"):
            variables.create("shift", [1], Role.BETA, initializers.zeros)
            first = ask(Layer("one", (3, 3, 1, 2), Place.FIRST))
        with tf.variable_scope("two"):
            return ask(Layer("two", (2, classes), Place.PLAIN)), first

    plan = kernels.plan(network, 10, (8, 8, 1), None)
    assert [layer.scope for layer in plan.layers] == ["one", "two"] and plan.scopes == ("one", "two")
    assert plan.layers[1].shape == (2, 10) and plan.layers[0].inputs == 9
    assert tf.get_default_graph().get_operations() == []


def test_variables_are_listed_in_the_network_s_order():
    kernels.build(Plan((Layer("b", (4, 2)), Layer("c", (4, 2))), ("b", "b/bn", "c")), lambda layer: kernels.plain())
    with tf.variable_scope("b/bn"):
        variables.create("beta", [2], Role.BETA, initializers.zeros)
    assert [variable.op.name for variable in variables.trainable()] == ["b/weight", "b/bn/beta", "c/weight"]


def test_a_kernel_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"the layer a takes a kernel of shape \[2, 3\], not \(3, 2\)"):
        kernels.given({"a": tf.zeros([3, 2])})(Layer("a", (2, 3)))
