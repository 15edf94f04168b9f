"""The loop: everything but the update itself is done by callbacks."""


def train(session, train_op, first, last, callbacks, interruption):
    """Does the updates `first` to `last` - 1, or up to an interruption; returns whether all of them were done.

    `interruption` is an `Interruption`, or an `Agreement` of several processes.
    At each step the callbacks say what they want to see of it (`fetches`) and get it (`after_step`), in their order.
    """
    for step in range(first, last):
        wanted = [callback.fetches(step) for callback in callbacks]
        _, seen = session.run([train_op, wanted], interruption.wishes())
        for callback, values in zip(callbacks, seen):
            callback.after_step(step, values)
        if interruption.stopping():
            break
    complete = step == last - 1
    for callback in callbacks:
        callback.end(step, interrupted=not complete)
    return complete
