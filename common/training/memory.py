"""How much memory a run will take, known before its graph is built.

A graph takes no memory until it runs, and its shapes are known. So the network's forward pass is built in a scratch
graph in which every map is a plain product P @ W0 (`kernels.outline`), which takes a fraction of a second: it has the
variables and activations of the real one. What a map keeps and works with is found from the map and its gradient
alone, what an optimizer works with from its update of each variable. The parts add up to what TensorFlow was seen to
take (benchmarks/README.md); nothing is measured here, so the verdict is the same each time.
"""

import collections
import dataclasses
import functools

from common import kernels, variables
from common.compat import tf
from common.layers import Mode

GIB = 2.0**30

# Operations whose outputs are the buffers of their inputs, and those that write into them if nobody else needs them.
_VIEWS = {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "EnsureShape", "StopGradient"}
_IN_PLACE = {"Relu", "Add", "AddV2", "Sub", "Mul", "Neg", "RealDiv", "BiasAdd", "SelectV2", "InplaceUpdate"}
_LIBRARY = 64 * 2**20  # what TensorFlow takes for a graph without maps, its threads and blocks of convolutions
_NODE = 36 * 2**10  # and for each node of a map and its gradient, in the copies of the graph that it optimises
_ROUGH = 16  # times the trained variables: more than any optimizer takes
_ROUGH_MAP = 40  # times the matrices that a map is given: more than any takes; Löwdin's polynomials 33
_ROUGH_NODES = 2000  # more than a map and its gradient have


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that a run holds at once, on all of its replicas that share a memory.

    Attributes:
      variables: weights, generators, averages, optimizer slots and the images of the data set.
      gradients: those of all trained variables, of the penalty, and what the optimizers need on the way.
      activations: what the network's forward pass keeps, and the two largest once more, for their gradients; those of
        an evaluation, if they are more.
      maps: what maps keep for their gradients and need on the way.
      library: what TensorFlow itself takes.
    """

    variables: int
    gradients: int
    activations: int
    maps: int
    library: int

    @property
    def total(self):
        return sum(dataclasses.astuple(self))

    def __str__(self):
        return ", ".join(f"{name} {size / GIB:.3g}" for name, size in dataclasses.asdict(self).items())


def estimate(task, replicas=1, enough=0):
    """Returns the `Estimate` of training a `Problem` with so many replicas that share one memory.

    Maps, optimizers and penalties are built only if a generous bound of what they take (see `_ROUGH` and `_ROUGH_MAP`)
    leads above `enough` bytes; else the bound stands in for it.
    """
    data, batch = task.dataset, task.batch_size // replicas
    stored = sum(array.nbytes for array in (data.train_images, data.test_images))
    with tf.Graph().as_default(), kernels.outline() as turned:
        size = task.pipeline.crop_size
        images = tf.placeholder(tf.float32, [batch, size, size, data.train_images.shape[-1]])
        step = tf.convert_to_tensor(variables.global_step())
        operations = needed(task.logits(images, Mode(True, task.batch_norm, task.keep_prob, step)).op)
        made = sorted(_Buffers(operations).bytes.values())
        evaluated = peak(operations) * min(task.vali_batch_size, len(data.test_images)) // batch
        activations = max(replicas * (sum(made) + sum(made[-2:])), evaluated)
        trained = sum(map(bytes_of, variables.trainable()))
        given = stored + sum(map(bytes_of, tf.global_variables()))
        squares = sum(4 * size * (size + columns) for _, size, columns in turned)
        rough = Estimate(
            replicas * (given + 3 * trained),
            replicas * _ROUGH * trained,
            activations,
            replicas * _ROUGH_MAP * squares,
            _LIBRARY + replicas * len(turned) * _ROUGH_NODES * _NODE,
        )
        if rough.total <= enough:
            return rough
        updates = sum(map(_update_memory, task.optimizers(step, 0)))
        gradients = trained + updates + _penalty_memory(task)
        values = sum(map(bytes_of, tf.global_variables()))
    memories = [map_memory(*layer) for layer in turned]
    kept, working, nodes = [sum(figures) for figures in zip(*memories)] if memories else (0, 0, 0)
    # Evaluation computes Q and Q Q^T of a layer, with which a step's share of the maps has long been given back.
    working = max(working, 3 * max((4 * size**2 for _, size, _ in turned), default=0) - kept)
    return Estimate(
        replicas * (values + stored),
        replicas * gradients,
        activations,
        replicas * (kept + working),
        _LIBRARY + replicas * nodes * _NODE,
    )


def _penalty_memory(task):
    """Returns the bytes of a penalty's gradients: all at once, for the variables are known when a step begins."""
    gradients = tf.gradients(tf.convert_to_tensor(task.penalty(0), tf.float32), variables.trainable())
    made = [gradient.op for gradient in gradients if gradient is not None]
    return sum(_Buffers(needed(*made)).bytes.values()) if made else 0


def _update_memory(group):
    """Returns the bytes that an optimizer holds while it updates its variables, which it does all at once."""
    optimizer, members = group
    updates = [optimizer.apply_gradients([(tf.placeholder(tf.float32, member.shape), member)]) for member in members]
    return sum(peak(needed(update)) for update in updates)


@functools.lru_cache(maxsize=256)
def map_memory(rotate, size, columns):
    """Returns what a map of [size, size] by [size, columns] takes: bytes kept, bytes to work with, and graph nodes.

    Kept are the buffers of the forward pass that the backward pass reads, but for the arguments and the result; the
    map works with the most that it holds besides, gradients included, in the backward pass.
    """
    if rotate is tf.matmul:
        return 0, 0, 0
    with tf.Graph().as_default() as graph:
        generator, weights = (tf.placeholder(tf.float32, [size, count]) for count in (size, columns))
        result = rotate(generator, weights)
        forward = set(graph.get_operations())
        upstream = tf.placeholder(tf.float32, [size, columns])
        gradients = tf.gradients(result, [generator, weights], [upstream])
        operations = needed(result.op, *[gradient.op for gradient in gradients])
        buffers = _Buffers(operations)
        outside = {buffers.of(tensor) for tensor in (generator, weights, result)}
        read = {
            buffers.of(tensor)
            for operation in operations
            if operation not in forward
            for tensor in operation.inputs
            if tensor.op in forward
        }
        kept = sum(buffers.bytes[buffer] for buffer in read - outside)
        return kept, max(0, peak(operations) - kept), len(graph.get_operations())


def needed(*operations):
    """Returns the operations that have to run for some, in the order in which they were made."""
    found, waiting = set(), list(operations)
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + operation.control_inputs
    return [operation for operation in operations[0].graph.get_operations() if operation in found]


def peak(operations):
    """Returns the most bytes that operations, done one after another, hold in what they make; variables not counted."""
    buffers = _Buffers(operations)
    last = {}
    for number, operation in enumerate(operations):
        for tensor in [*operation.inputs, *operation.outputs]:
            last[buffers.of(tensor)] = number
    ending = collections.defaultdict(list)
    for buffer, number in last.items():
        ending[number].append(buffer)
    held, most, alive = 0, 0, set()
    for number, operation in enumerate(operations):
        for buffer in {buffers.of(tensor) for tensor in operation.outputs} - alive:
            alive.add(buffer)
            held += buffers.bytes[buffer]
        most = max(most, held)
        held -= sum(buffers.bytes[buffer] for buffer in ending[number] if buffer in alive)
    return most


def bytes_of(tensor):
    """Returns the bytes of a tensor or variable; 0 where the shape is not known, as of small ones only."""
    count = tensor.shape.num_elements() if tensor.shape.rank is not None else None
    return (count or 0) * getattr(tensor.dtype.base_dtype, "size", 0)


class _Buffers:
    """Which tensors of some operations are one buffer; `bytes` is {buffer: its size}, 0 for what the step owns not."""

    def __init__(self, operations):
        readers = collections.Counter(tensor.ref() for operation in operations for tensor in operation.inputs)
        self._first, self.bytes = {}, {}
        for operation in operations:
            sources = [*operation.inputs, *[None] * len(operation.outputs)]
            for source, tensor in zip(sources, operation.outputs):
                shared = source is not None and (
                    operation.type in _VIEWS
                    or (operation.type in _IN_PLACE and readers[source.ref()] == 1 and self._is_free(source, tensor))
                )
                self._first[tensor.ref()] = self._first[source.ref()] if shared else tensor.ref()
                if not shared:
                    owned = operation.inputs or operation.type not in ("Placeholder", "VarHandleOp")
                    owned = owned and operation.type not in ("ReadVariableOp", "PlaceholderWithDefault")
                    self.bytes[tensor.ref()] = bytes_of(tensor) if owned else 0

    def _is_free(self, source, tensor):
        """Whether a result may be written over its argument: of the same size, and nobody's variable."""
        return self.bytes[self._first[source.ref()]] > 0 and _same(source, tensor)

    def of(self, tensor):
        return self._first[tensor.ref()]


def _same(first, second):
    return first.dtype.base_dtype == second.dtype.base_dtype and first.shape == second.shape
