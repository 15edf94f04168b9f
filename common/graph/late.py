"""What is known only when more of a graph has been built: TensorFlow does this too, but has no public names for it."""


def connect(stand_in, tensor):
    """Lets an identity, `stand_in`, pass on `tensor`, of its shape and type, in place of what it was built with."""
    if stand_in.dtype != tensor.dtype or stand_in.shape != tensor.shape:
        raise ValueError(f"{tensor.name} {tensor.shape} cannot stand in for {stand_in.name} {stand_in.shape}")
    stand_in.op._update_input(0, tensor)


def run_before(first, then):
    """Lets the operation `first` end before the operation `then`, which was built before it, begins."""
    then._add_control_input(first)
