"""How well training would scale to many GPUs: a model on paper, from what a step computes and exchanges.

Nothing of it has been measured on a GPU. A step computes for C seconds and then exchanges for E seconds, none of it
hidden behind the other, as the gradients go into one buffer when all of them are there:

    efficiency = C / (C + E),    E = 2 (R - 1) / R * bytes / rate + collectives * hops(R) * latency

R is the number of GPUs, each with the same number of images whatever R is; hops(R) = 2 (R - 1) for a ring and
2 ceil(log2 R) for a tree. C is an assumption too: the floating-point operations of a step, counted in its graph, at a
stated share of a stated GPU's peak.
"""

import dataclasses
import math

from common.compat import tf

SHARE_OF_PEAK = 0.4  # assumed; the paper's networks are convolutions, which reach about that


@dataclasses.dataclass(frozen=True)
class Link:
    """What connects GPUs: bytes per second of each of them in one direction, seconds from one to the next."""

    rate: float
    latency: float


# NVIDIA's data sheet of the H100 SXM: 67 TFLOP/s float32 (TensorFloat-32 is switched off here), 989 dense bfloat16.
PEAKS = {"float32": 67e12, "bfloat16": 989e12}
NODE = 8  # GPUs of a node
WITHIN_NODE = Link(rate=450e9, latency=2e-6)  # NVLink 4: 900 GB/s in both directions; the latency is assumed
BETWEEN_NODES = Link(rate=50e9, latency=5e-6)  # a 400 Gb/s InfiniBand adapter for each GPU; the latency is assumed
SIZES = (8, 64, 1024)


def link(gpus):
    """Returns the slowest `Link` that a ring through so many GPUs has."""
    return WITHIN_NODE if gpus <= NODE else BETWEEN_NODES


def ring(gpus):
    """Returns the hops of an all-reduce round a ring."""
    return 2 * (gpus - 1)


def tree(gpus):
    """Returns the hops of an all-reduce up and down a tree."""
    return 2 * math.ceil(math.log2(gpus))


def exchange(size, gpus, rate, latency, collectives, hops=ring):
    """Returns the seconds of a step's all-reduces.

    Args:
      size: bytes of all of them together, on one GPU.
      gpus: how many take part.
      rate: bytes per second from one to the next.
      latency: seconds from one to the next.
      collectives: how many all-reduces these are.
      hops: `ring` or `tree`.
    """
    return 2 * (gpus - 1) / gpus * size / rate + collectives * hops(gpus) * latency


def efficiency(step_seconds, size, gpus, link_rate, latency, collectives, hops=ring):
    """Returns the share of its time for which a GPU computes; arguments as for `exchange`, after the computing time."""
    return step_seconds / (step_seconds + exchange(size, gpus, link_rate, latency, collectives, hops))


def step_seconds(operations, precision):
    """Returns the assumed seconds of a step of so many floating-point operations."""
    return operations / (SHARE_OF_PEAK * PEAKS[precision])


def operations(result):
    """Returns the floating-point operations of the convolutions and matrix products that an operation depends on.

    The products within loops, of which the maps have some, are left out, as is everything elementwise: a real step
    takes longer, and its exchange weighs less.
    """
    graph = result.graph
    needed = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [result.name]).node
    nodes = [graph.get_operation_by_name(node.name) for node in needed if node.op in _OPERATIONS]
    return sum(_OPERATIONS[node.type](node) for node in nodes)


def collectives(graph):
    """Returns [numbers of an all-reduce] of every all-reduce that a graph's step has."""
    return [
        node.inputs[0].shape.num_elements() for node in graph.get_operations() if node.type == "CollectiveReduceV2"
    ]


def _convolution(result, kernel):
    """Every number of the result is a sum over the kernel's height, width and inputs."""
    return 2 * math.prod(result) * math.prod(kernel[:3])


def _kernel_of(sizes):
    """The shape that a tensor of sizes gives: a constant, or what TensorFlow takes from the forward pass's kernel."""
    known = tf.get_static_value(sizes)
    return sizes.op.inputs[sizes.value_index].shape if known is None else [int(size) for size in known]


def _product(node):
    inner = node.inputs[0].shape.as_list()[-2 if node.get_attr("transpose_a") else -1]
    return 2 * node.outputs[0].shape.num_elements() * inner


_OPERATIONS = {
    "Conv2D": lambda node: _convolution(node.outputs[0].shape, node.inputs[1].shape),
    "Conv2DBackpropInput": lambda node: _convolution(node.inputs[2].shape, node.inputs[1].shape),
    "Conv2DBackpropFilter": lambda node: _convolution(node.inputs[2].shape, _kernel_of(node.inputs[1])),
    "MatMul": _product,
}
