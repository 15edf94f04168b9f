"""Functions whose bodies a graph holds once, however many places call them with tensors of equal shapes.

A map has hundreds of nodes, and TensorFlow keeps some 16 kB for each node of a graph that it runs. As many layers of a
network are of one size, their maps are calls of one body, which is also optimised but once.
"""

import functools

from common.compat import tf

_FUNCTIONS = "common/shared"


def shared(function, *arguments):
    """Returns `function(*arguments, *tensors)` as a function of the tensors, whose body all its calls share.

    Args:
      function: of tensors of known shapes, to a tensor or a structure of them. It has gradients as if it were called
        directly; they have a body of their own.
      arguments: what else it takes first. Calls share a body if function and arguments are the same objects.
    """
    key = (function, *arguments)
    known = tf.get_collection_ref(_FUNCTIONS)  # of the graph: bodies live as long as it does
    for other, body in known:
        if len(other) == len(key) and all(one is another for one, another in zip(key, other)):
            return body
    # Without this attribute the body would be put in place of each call before a graph runs.
    kept_apart = {"_noinline": True}
    body = tf.function(functools.partial(function, *arguments), autograph=False, experimental_attributes=kept_apart)
    known.append((key, body))
    return body
