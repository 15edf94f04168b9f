"""Kernel factories: what they create and when a map is built."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels


def build(factory, shape=(3, 3, 4, 5), scope="layer", reuse=False):
    with tf.variable_scope(scope, reuse=reuse):
        return factory(list(shape), tf.float64)


def evaluate(*tensors):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors)


def test_plain_is_the_variable():
    tensor = build(kernels.plain(name="filter"))
    (variable,) = variables.with_role(Role.WEIGHT)
    assert variable.op.name == "layer/filter"
    np.testing.assert_array_equal(*evaluate(tensor, variable))
    assert kernels.of_layers()[0].degrees_of_freedom == 180
    assert kernels.rotated_layers() == []


def test_unit_norm_is_on_the_manifold():
    build(kernels.unit_norm())
    assert [variable.op.name for variable in variables.with_role(Role.UNIT_KERNEL)] == ["layer/weight"]


def test_rotated_turns_the_fixed_matrix():
    tensor = build(kernels.rotated(tf.matmul))
    (fixed,), (generator,) = variables.with_role(Role.FIXED), variables.with_role(Role.GENERATOR)
    assert (fixed.op.name, fixed.shape.as_list()) == ("layer/fix", [36, 5])
    assert (generator.op.name, generator.shape.as_list()) == ("layer/rotation", [36, 36])
    assert variables.trainable() == [generator]
    kernel, weights, matrix = evaluate(tensor, fixed, generator)
    np.testing.assert_allclose(kernel, (matrix @ weights).reshape(3, 3, 4, 5), rtol=1e-12)
    assert kernels.rotated_layers()[0].degrees_of_freedom == 36 * 35 // 2


def test_rotation_itself_is_the_map_of_the_identity():
    build(kernels.rotated(lambda generator, weights: 2.0 * generator @ weights))
    (layer,) = kernels.rotated_layers()
    rotation, generator = evaluate(layer.rotation(), layer.generator)
    np.testing.assert_allclose(rotation, 2 * generator, rtol=1e-12)


def test_two_maps_are_under_way_at_most():
    kernel = kernels.rotated(lambda generator, weights: 2.0 * generator @ weights)
    tensors = [build(kernel, scope=f"layer{index}") for index in range(4)]
    generators = [layer.generator.op for layer in kernels.rotated_layers()]
    waits = [[tensors.index(op.outputs[0]) for op in generator.control_inputs] for generator in generators]
    assert waits == [[], [], [0], [1]]


def test_free_starts_as_ordinary_random_weights():
    tensor = build(kernels.free())
    kernel, weights = evaluate(tensor, variables.with_role(Role.FIXED)[0])
    np.testing.assert_array_equal(kernel, weights.reshape(3, 3, 4, 5))
    assert kernels.rotated_layers()[0].degrees_of_freedom == 36 * 36


def test_each_map_is_built_once_and_feeding_it_freezes_the_second_pass():
    calls = []

    def rotate(generator, weights):
        calls.append(1)
        return generator @ weights

    first = build(kernels.rotated(rotate))
    second = build(kernels.rotated(rotate), reuse=True)
    assert second is first and len(calls) == 1
    assert [layer.layer for layer in kernels.rotated_layers()] == ["layer"]


def test_a_scope_has_one_kernel():
    """Two layers of one's own in one scope are a mistake, as two variables of one name are."""
    build(kernels.rotated(tf.matmul))
    with pytest.raises(ValueError, match="the variable scope 'layer' has a kernel already: open a scope for each layer"):
        build(kernels.rotated(tf.matmul))
    with pytest.raises(ValueError, match=r"'layer' has a kernel of shape \[3, 3, 4, 5\], which cannot be \[3, 3, 4, 6\]"):
        build(kernels.rotated(tf.matmul), shape=(3, 3, 4, 6), reuse=True)
    with pytest.raises(ValueError, match="the outermost variable scope has a kernel already"):
        for _ in range(2):
            kernels.rotated(tf.matmul)([4, 5])


def test_a_matrix_is_turned_too():
    tensor = build(kernels.rotated(tf.matmul), shape=(7, 5))
    kernel, weights, matrix = evaluate(tensor, variables.with_role(Role.FIXED)[0], variables.trainable()[0])
    np.testing.assert_allclose(kernel, matrix @ weights, rtol=1e-12)


def test_replicas_have_their_own_kernels():
    factory = kernels.rotated(tf.matmul)
    for replica in range(2):
        with variables.replica_scope(replica):
            build(factory)
    assert [kernel.layer for kernel in kernels.rotated_layers(replica=1)] == ["layer"]
    assert kernels.rotated_layers(0)[0].tensor is not kernels.rotated_layers(1)[0].tensor
