"""Training from the start to the end: what is built, where it begins, what happens besides, and how it ends.

In a cluster every process does this. The chief reads checkpoints, holds the run folder and reports; the others come to
the same decisions, by metrics that are reduced over all processes or that the chief has told them.
"""

import contextlib
import shlex
import signal
import sys
import time

from common.compat import tf
from common.console import say
from common.data.dataset import listed
from common.distributed import consistency
from common.distributed.peers import Peers
from common.files import FLAGS
from common.graph import variables
from common.nn import losses
from common.runs import checkpoints, resume
from common.runs.folder import Elsewhere, RunFolder
from common.runs.saver import CheckpointManager
from common.training import callbacks, drift, head, loop, problem, summaries
from common.training.cluster_callbacks import Agreement, Alignment
from common.training.evaluation import Evaluation
from common.training.floor import Floor
from common.training.nonfinite import FiniteCheck, bad_variables
from common.training.statistics import AtTheEnd, Precise

ADVICE = "For a run of minutes, try --data=digits: real handwritten digits that need no download."


def train(program, settings, dataset, chosen, start, interruption):
    """Trains as the resolved `settings` say, on the devices `chosen`, from a `Start`; returns the exit status."""
    config, peers = chosen.config(settings.log_device_placement), Peers(chosen.cluster)
    is_chief = chosen.cluster.is_chief
    with resume.in_folder(program, settings, start) if is_chief else contextlib.nullcontext(start) as start:
        lines = list(head.known_before(program, settings, dataset, chosen))
        for line in lines if is_chief else []:
            say(line)
        if chosen.cluster.count > 1:
            peers.rendezvous(config, settings.start_timeout, consistency.items(settings, dataset, chosen))
        with tf.Session(peers.target, config=config) as session:
            run = _Run(program, settings, dataset, chosen, start, interruption, peers, session)
            run.build()
            run.begin([*start.lines, *lines])
            complete = run.run(config)
            status = run.end(complete)
            peers.barrier(session)
    if status and not is_chief:
        say(f"interrupted; {chosen.cluster.name(0)} has saved a checkpoint")
    return status


class _Run:
    """A training as one process sees it: `build`, `begin`, `run` and `end` follow each other."""

    def __init__(self, program, settings, dataset, chosen, start, interruption, peers, session):
        self.program, self.settings, self.dataset, self.chosen = program, settings, dataset, chosen
        self.start, self.interruption, self.peers, self.session = start, interruption, peers, session
        self.cluster, self.steps = chosen.cluster, program.steps(settings, dataset)
        self.longer_by = program.longer_by(settings)

    def build(self):
        """Builds the whole graph: nothing is added to it later."""
        begin = time.perf_counter()
        self.problem = self.program.problem(self.settings, self.dataset)
        self.training = problem.build(self.problem, self.chosen.names, cluster=self.cluster)
        kernels = self.training.kernels[0]
        self.evaluation = Evaluation(self.problem, kernels, self.cluster)
        tested = self.dataset.test_images is not None and self.evaluation.split != "test"
        self.test = Evaluation(self.problem, kernels, self.cluster, self.dataset.parts()[-1]) if tested else None
        batches = self.settings.fresh_batches()
        self.precise = Precise(self.training, batches, self.cluster) if batches else None
        before = self.start.steered_from
        self.rates_before = self.program.problem(before, self.dataset).rates(self.training.step) if before else {}
        self.of_method = self.program.callbacks(self.settings, self.session, self.training)
        self.manager = None
        if self.cluster.is_chief:
            self.manager = CheckpointManager(self.start.folder, self.settings.max_to_keep)
        if not self.chosen.gpus:
            head.check_memory(len(self.chosen.names))
        self.peers.prepare()
        self.initialize = tf.global_variables_initializer()
        tf.get_default_graph().finalize()
        self.seconds = time.perf_counter() - begin

    def begin(self, lines):
        """Gives the variables their values, and the run its folder, whose log begins with `lines` said before."""
        session, start = self.session, self.start
        session.run(self.initialize)
        origin = list(_load_all(session, start.checkpoint, self.chosen)) if start.checkpoint else self._begin_at()
        with self.peers.watched(session):
            self.peers.broadcast(session)
        self.first = int(session.run(self.training.global_step))
        if self.first >= self.steps and not self.settings.resume:
            raise ValueError(
                f"--load={self.settings.load}: {self.first} updates are done there; raise {self.longer_by} to go on"
            )
        if self.cluster.is_chief:
            self.folder = RunFolder(start.folder, self.first, self.settings.tensorboard)
            self._write_head(lines, origin)
        else:
            self.folder = Elsewhere(self.cluster.name(0))
            say(f"{self.cluster.name(self.cluster.index)} trains too; {self.cluster.name(0)} reports and saves")
        evaluated = [evaluation.store for evaluation in (self.evaluation, self.test) if evaluation]
        for store in [*self.training.stores, *evaluated]:
            store.fill(session)
        if self.settings.deterministic and self.cluster.count == 1 and self.first < self.steps:
            problem.try_out(session, self.training)

    def _begin_at(self):
        """Gives the variables the values that the program begins at, if not random ones; returns lines about it."""
        if not self.cluster.is_chief:
            return []
        values, lines = self.program.start_values(self.settings, self.problem, self.training.kernels)
        checkpoints.assign(self.session, values)
        return lines

    def run(self, config):
        """Does the updates; returns whether all are done and validated."""
        alone, first, steps = self.cluster.count == 1, self.first, self.steps
        self.stop = self.interruption if alone else Agreement(self.interruption, self.training)
        check, validate, everything = self._callbacks()

        def rescue(fault):
            with tf.Session(self.peers.target, config=config) as anew:  # the other one may be closed
                return self._rescue(fault, anew)

        watched = self.peers.watched(self.session, rescue if self.cluster.is_chief else None)
        with self.interruption.deferred(), watched, check:
            if first == 0:
                validate.keep_start()
            if first >= steps:
                self.folder.say(f"{first} updates are done already; a larger {self.longer_by} goes on")
                if alone and not self.folder.measured_before(first - 1, self.evaluation.split):
                    for callback in self.at_the_end:
                        callback.at(first - 1)
                        self.save.at(first - 1)
                    validate.at(first - 1)
                if alone and not validate.dropped and not self.folder.measured_before(first - 1, "test"):
                    self._test(first - 1)
                return not validate.dropped
            if self.stop.stopping():
                return False
            done = loop.train(self.session, self.training.train_op, first, steps, everything, self.stop)
            if done and not validate.dropped:
                self._test(steps - 1)
                if self.dataset.test_images is None:
                    self.folder.say("there is no test set: the metrics of the holdout are the last word")
            return done and not validate.dropped

    def _test(self, step):
        """Evaluates the test set of a run that was validated on a holdout: once, after the last update."""
        if self.test is None:
            return
        metrics = self.test.metrics(self.session)
        if self.folder.kept:
            self.folder.say(f"step {step}, test: {metrics}")
            self.folder.measure(step=step, split="test", **metrics.percentages())

    def end(self, complete):
        """Says how the run has ended; returns the exit status."""
        folder, save = self.folder, self.save
        again = f"go on with --resume --train_path={shlex.quote(folder.path)}"
        number = None if complete else self.stop.signal
        because = f"interrupted by {signal.Signals(number).name}; " if number else ""
        if save.fault:
            line = f"{because}the last checkpoint could not be written ({save.fault}); {again} when it can"
            folder.note(line)
            raise OSError(line)
        if save.faults:
            folder.say(f"{save.faults} of the checkpoints on the way could not be written; the last one is there")
        if number:
            folder.say(f"{because}{again}")
        return 128 + number if number else 0

    def _write_head(self, lines, origin):
        """Writes what a run folder and a log begin with."""
        if self.first < self.steps:  # else they are those of the last training
            classes = listed(self.dataset.class_names)
            self.folder.write(FLAGS, resume.text(self.program, self.settings, self.start, classes))
        self.manager.begin(self.start.checkpoint)
        for line in lines:
            self.folder.note(line)
        rates = head.rates(self.session, self.training, self.first, self.steps, self.rates_before)
        for line in [*head.of_graph(self.problem, self.training, self.seconds), *rates, *origin]:
            self.folder.say(line)

    def _callbacks(self):
        """Returns the check of numbers, the validation, and all callbacks in the order in which they act."""
        settings, session, training, folder = self.settings, self.session, self.training, self.folder
        clock, first, last = callbacks.Clock(settings.batch_size), self.first, self.steps - 1
        chief, alone = self.cluster.is_chief, self.cluster.count == 1
        save = callbacks.Save(folder, session, self.manager, settings.save_freq, last, clock, self.start.lock)
        newest = (lambda: save.path or self.start.checkpoint) if chief else (lambda: f"in {folder.path}")
        check = FiniteCheck(folder, session, self.problem, training, first, last, settings.save_freq, newest)
        progress = []
        if chief and sys.stderr.isatty():
            progress.append(callbacks.Progress(training.metrics, first, self.steps, settings.batch_size))
        report = [
            callbacks.Report(
                folder, session, training.kernels[0], training.metrics, settings.report_freq, last, clock, check.counts
            )
        ]
        if self.problem.fit is losses.smoothed_cross_entropy:
            frequency = min(settings.report_freq, max(1, self.steps // 10))  # short runs are told in time, too
            report.append(Floor(folder, training.metrics, self.dataset.classes, frequency, last))
        stopping = self.interruption.stopping if alone else lambda: False  # several processes finish a validation
        validate = callbacks.Validate(
            folder, session, self.evaluation, training.metrics["lr"], settings.vali_freq, last, clock, stopping
        )
        of_drift = drift.Drift(folder, session, training, settings.drift_bound)
        several = self.cluster.count * len(self.chosen.names) > 1
        alignment = [Alignment(self.peers, session, settings.save_freq, last)] if several else []
        patience = callbacks.Patience(first, last, "" if settings.data == "digits" else ADVICE)
        self.save, precise = save, self.precise
        self.at_the_end = [AtTheEnd(precise, folder, session, last, save, stopping)] if precise else []
        return check, validate, [
            *([] if alone else [self.stop]),
            check,
            *progress,
            *self.of_method,
            *(report if chief else []),
            *self.at_the_end,
            validate,
            of_drift,
            *alignment,
            *([save, *_board(settings, folder.events, self.problem, training, last), patience] if chief else []),
        ]  # fmt: skip

    def _rescue(self, fault, session):
        """Saves the last whole step of a run that has lost its peers; returns what to say about it."""
        self.folder.note(f"error: {fault}")
        step = int(session.run(self.training.global_step)) - 1
        if step < self.first:
            return "no step was done yet"
        if bad := bad_variables(session):
            return f"{bad[0]} is not finite, so nothing was saved"
        self.save.use(session)
        self.save.at(step)
        if self.save.fault:
            return f"nothing could be saved ({self.save.fault})"
        return f"{self.save.path} is saved; start all workers again with --resume --train_path={self.folder.path}"


def _board(settings, events, trained, training, last):
    """Returns the callbacks that show TensorBoard more than the metrics."""
    if events is None:
        return []
    return [
        summaries.Sample(events, training.images, trained.pipeline),
        summaries.Gradients(events, training.health.gradients, settings.vali_freq, last),
    ]


def _load_all(session, checkpoint, chosen):
    """Gives all replicas the values of a checkpoint, slots included; returns lines that say so."""
    for replica in range(len(chosen.names)):
        model = checkpoints.model_variables(replica)
        names = {variable.op.name for variable in model}
        slots = [variable for variable in variables.saved(replica) if variable.op.name not in names]
        fresh = checkpoints.load(session, checkpoint, model, slots)
    yield f"goes on from {checkpoint}, with step {session.run(variables.global_step())}"
    if fresh:
        yield f"not in it, start afresh: {len(fresh)} optimizer slots ({fresh[0]}, ...)"
