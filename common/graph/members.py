"""A map of a batch of matrices: members that need a slower algorithm, or are in error, leave the others alone."""

from common.compat import tf
from common.graph.linalg import checked


def run_algorithm(name, algorithms, algorithm, generator, weights, names=None):
    """Returns Q(generator) @ weights, by one call of an algorithm for the whole batch.

    On CPUs and on GPUs alike one batched call is as fast as a call for each member, or faster, and has a fifth of the
    operations.

    Args:
      name: the map's, for messages.
      algorithms: {name: compute}; compute(generator [b, n, n], weights [b, n, m], members) returns the result
        [b, n, m] and the function that takes its gradient to those of generator and weights. `members` are `Members`.
      algorithm: the one to use.
      generator: [..., n, n], float32 or float64.
      weights: [..., n, m], of the same type.
      names: of the members of the batch, in order, for messages.

    Raises ValueError if shapes, types, names or the algorithm do not fit.
    """
    if algorithm not in algorithms:
        raise ValueError(f"{name}: the algorithm is {algorithm!r}, expected one of {', '.join(algorithms)}")
    generator, weights = checked(name, generator, weights)
    batch = generator.shape[:-2]
    members = Members(name, _subjects(name, batch, names))

    @tf.custom_gradient
    def rotate(generator, weights):
        rotated, pull_back = algorithms[algorithm](generator, weights, members)

        def gradient(upstream):
            # Without the control, parts of the factors would be copied early and stay in memory.
            with tf.control_dependencies([upstream]):
                return pull_back(upstream)

        return rotated, gradient

    if batch.rank == 1:
        return rotate(generator, weights)
    shape = tf.shape(weights) if weights.shape[-1] is None else weights.shape
    stacked = tf.reshape(weights, [batch.num_elements(), *shape[-2:]])
    rotated = rotate(tf.reshape(generator, [-1, *generator.shape[-2:]]), stacked)
    return tf.ensure_shape(tf.reshape(rotated, shape), weights.shape)


def _subjects(name, batch, names):
    """Returns what messages call each member."""
    count = batch.num_elements()
    if names is not None and len(names) != count:
        raise ValueError(f"{name}: {len(names)} names for {count} generators, expected one for each")
    if names is not None:
        return [f"the generator of {member}" for member in names]
    if not batch.rank:
        return ["the generator"]
    return [f"the generator of member {index} of the batch" for index in range(count)]


class Members:
    """The members of a batch that a computation is about."""

    def __init__(self, name, subjects, indices=None):
        self._name, self._subjects, self._indices = name, subjects, indices

    def replace(self, trusted, results, slower, *tensors):
        """Returns `results` with those of a slower algorithm for the members that are not trusted.

        Args:
          trusted: bool [b].
          results: a structure of tensors [b, ...].
          slower: slower(members, *tensors) -> the same structure for those members only; not run if there are none.
          tensors: [b, ...], what `slower` computes from.
        """
        known = tf.nest.flatten(results)

        def replaced():
            indices = tf.where(tf.logical_not(trusted))
            positions = indices[:, 0]
            own = positions if self._indices is None else tf.gather(self._indices, positions)
            few = Members(self._name, self._subjects, own)
            values = tf.nest.flatten(slower(few, *[tf.gather(tensor, positions) for tensor in tensors]))
            return [tf.tensor_scatter_nd_update(result, indices, value) for result, value in zip(known, values)]

        values = tf.cond(tf.reduce_all(trusted), lambda: [tf.identity(tensor) for tensor in known], replaced)
        return tf.nest.pack_sequence_as(results, tf.nest.flatten(values))

    def require(self, passed, tensor, fault):
        """Returns `tensor` where all members have passed, bool [b], and else raises as `check` does."""

        def refused():
            with tf.control_dependencies([self.check(passed, fault)]):
                return tf.identity(tensor)

        return tf.cond(tf.reduce_all(passed), lambda: tf.identity(tensor), refused)

    def check(self, passed, fault):
        """Returns an operation that raises tf.errors.InvalidArgumentError, naming the first member that has not passed.

        Args:
          passed: bool [b].
          fault: what is wrong with a member that has not passed, the end of the message.
        """
        with tf.device("/device:CPU:0"):  # texts are on no GPU
            failed = tf.argmin(tf.cast(passed, tf.int32))
            index = failed if self._indices is None else self._indices[failed]
            subject = tf.gather(tf.constant(self._subjects), index)
            message = tf.strings.join([f"{self._name}: ", subject, f" {fault}"])
            return tf.debugging.Assert(tf.reduce_all(passed), [message])
