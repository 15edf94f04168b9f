"""What a GPU would make of the training steps, from the kernels that this TensorFlow has: nothing here needs one."""

import functools

import pytest
from tensorflow.python.framework import kernels, op_def_registry

from benchmarks import programs
from common.compat import tf
from common.training import problem

# The permutation of a batch; and QR, a last resort: its kernel for GPUs takes and gives host memory.
ON_THE_HOST = {"RandomIndexShuffle", "Qr"}
METHODS = [(network, method) for network in ("cnn6", "resnet-10-1") for method in programs.methods(network)]
FAST = [METHODS[1], ("cnn6", "sopt_gs"), METHODS[-1]]  # a map, a subset of one, a manifold


@functools.lru_cache(maxsize=None)
def _kernels(operation):
    """The kernels that a GPU takes: its own, and those for whatever device."""
    known = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in known if kernel.device_type in ("GPU", "DEFAULT")]


def _kernel(node):
    for kernel in _kernels(node.op):
        fits = True
        for constraint in kernel.constraint:
            attribute = node.attr[constraint.name]
            types = attribute.list.type or [attribute.type]
            fits &= all(kind in constraint.allowed_values.list.type for kind in types if kind)
        if fits:
            return kernel
    return None


def _inputs(node, argument):
    """The inputs of a node that belong to an argument of its operation."""
    place = 0
    for defined in op_def_registry.get(node.op).input_arg:
        count = node.attr[defined.number_attr].i if defined.number_attr else 1
        count = len(node.attr[defined.type_list_attr].list.type) if defined.type_list_attr else count
        if defined.name == argument:
            return node.input[place : place + count]
        place += count
    return []


def _bodies(network, method):
    """The nodes of a step's graph, and those of each function that it calls."""
    program, settings = programs.program_of(programs.Job(network, method, batch_size=4, width=8))
    with tf.Graph().as_default() as graph:
        training = problem.build(program.problem(settings, programs.dataset(4, 4, 0)), (None,))
        definition = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [training.train_op.name])
    return [definition.node, *(function.node_def for function in definition.library.function)]


@pytest.fixture
def fast_gpu(monkeypatch):
    """Maps are built as for an H100."""
    monkeypatch.setattr("common.graph.linalg.on_gpu", lambda: True)
    monkeypatch.setattr("common.graph.linalg.fast_in_float64", lambda: True)


@pytest.mark.parametrize(
    "network, method", [pytest.param(*case, marks=[pytest.mark.slow] * (case not in FAST)) for case in METHODS]
)
def test_every_operation_has_a_kernel_and_no_constant_is_fetched_from_the_gpu(fast_gpu, network, method):
    """A constant that a kernel wants in host memory has to be an int32: others are put on the GPU, and it waits."""
    missing, fetched = set(), set()
    for nodes in _bodies(network, method):
        constants = {node.name: node.attr["dtype"].type for node in nodes if node.op == "Const"}
        for node in nodes:
            if node.op in ON_THE_HOST or node.device.endswith("CPU:0"):
                continue
            if node.op in ("VarHandleOp", "ReadVariableOp") and node.attr["dtype"].type == tf.int32.as_datatype_enum:
                continue  # the subset of an episode of stochastic OPT: TensorFlow has no int32 variables on GPUs
            kernel = _kernel(node)
            if kernel is None:
                missing.add(node.op)
                continue
            for argument in kernel.host_memory_arg:
                for name in _inputs(node, argument):
                    kind = constants.get(name.lstrip("^").split(":")[0])
                    if kind is not None and kind != tf.int32.as_datatype_enum:
                        fetched.add((node.name, node.op, argument))
    assert not missing and not fetched
