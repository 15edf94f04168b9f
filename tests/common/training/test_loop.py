"""The loop and its callbacks."""

import os
import signal

from common.compat import tf
from common.training.callbacks import Callback, Periodic
from common.training.loop import train
from common.training.signals import Interruption


class Recorder(Callback):
    def __init__(self, tensor, at=None, act=lambda: None):
        self.tensor, self.at, self.act = tensor, at, act
        self.seen, self.ended = [], None

    def fetches(self, step):
        return {"value": self.tensor}

    def after_step(self, step, values):
        self.seen.append((step, int(values["value"])))
        if step == self.at:
            self.act()

    def end(self, step, interrupted):
        self.ended = (step, interrupted)


def run(first, last, **options):
    counter = tf.get_variable("counter", [], tf.int64, tf.constant_initializer(10))
    before = tf.identity(counter.read_value())
    with tf.control_dependencies([before]):
        update = counter.assign_add(1, read_value=False)
    recorder = Recorder(before, **options)
    with tf.Session() as session, Interruption() as interruption, interruption.deferred():
        session.run(tf.global_variables_initializer())
        done = train(session, update, first, last, [recorder], interruption)
    return recorder, done, interruption


def test_callbacks_see_every_step_of_the_run():
    recorder, done, interruption = run(3, 6)
    assert recorder.seen == [(3, 10), (4, 11), (5, 12)]
    assert recorder.ended == (5, False) and done and interruption.signal is None


def test_a_signal_ends_the_run_after_the_step_under_way():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    recorder, done, interruption = run(0, 100, at=4, act=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not done and recorder.ended == (4, True) and interruption.signal == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_in_the_last_step_finds_the_run_complete():
    recorder, done, interruption = run(0, 5, at=4, act=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert done and recorder.ended == (4, False) and interruption.signal == signal.SIGTERM


def test_periodic_acts_at_the_end_of_every_period_and_of_the_run():
    class Acts(Periodic):
        def __init__(self, last):
            super().__init__(4, last, {"x": 1})
            self.steps = []

        def act(self, step, values):
            self.steps.append(step)

    for last, expected in ((9, [3, 7, 9]), (7, [3, 7])):
        acts = Acts(last)
        for step in range(last + 1):
            assert acts.fetches(step) == ({"x": 1} if step in expected else {})
            acts.after_step(step, {})
        assert acts.steps == expected
