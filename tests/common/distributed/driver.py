"""Some steps of some programs on a number of processes and devices: what test_equality.py starts or calls.

    python driver.py FOLDER PROCESSES DEVICES INDEX PORT [CASE ...]

The process INDEX writes the variables of its replicas to FOLDER/CASE-PROCESSESxDEVICES-INDEX.npz. Each case has a
server of its own: collectives keep their shapes for the life of a server.
"""

import dataclasses
import os
import pathlib
import sys
import threading

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

from common.cli import devices
from common.cli.recipe import methods
from common.compat import tf
from common.data import synthetic
from common.distributed.cluster import Cluster
from common.distributed.peers import Peers
from common.graph import variables
from common.training import problem
from common.training.evaluation import Evaluation
from common.training.statistics import Precise
from grassmann.program import Grassmann
from grassmann.settings import Settings as GrassmannSettings

OPT_GS, SOPT_GS = (methods()[name] for name in ("opt_gs", "sopt_gs"))
STEPS = {"float64": 10, "float32": 3}  # in float32 a ReLU switches sooner or later: see test_replica_equality.py
BUILDING = threading.Lock()  # in one process two graphs are built one after the other
TINY = {"data": "synthetic", "widths": (4, 4, 4, 4), "batch_size": 8, "device": "cpu", "max_steps": 20}
ADAMG = {
    "data": "synthetic", "model": "resnet", "optimizer": "adamg", "grassmann": True, "batch_size": 8, "crop_size": 16,
    "keep_prob": 0.7, "learnRate": 0.01, "learnRateG": 0.05, "omega": 0.1, "grad_clip": 0.1, "weightDecay": 5e-4,
    "max_steps": 20,
}  # fmt: skip
CASES = {
    "opt_gs": (OPT_GS, OPT_GS.settings_class(**TINY)),
    "sopt_gs": (SOPT_GS, SOPT_GS.settings_class(**TINY, episode_steps=4)),  # merges after steps 3 and 7
    "adamg": (Grassmann(), GrassmannSettings(**ADAMG)),
}
# In float32 the rates are a hundredth of these: see test_replica_equality.py.
SLOW = {
    **dict.fromkeys(("opt_gs", "sopt_gs"), {"base_lr": 5e-4}),
    "adamg": {"learnRate": 1e-4, "learnRateG": 5e-4},
}  # fmt: skip
DTYPES = {"float32": tf.float32, "float64": tf.float64}
ALL = [f"{case}-{dtype}" for case in CASES for dtype in DTYPES]


def trained(program, settings, dtype, cluster, count, steps):
    """Returns {name: value} of all replicas here, and the metrics of an evaluation, after so many steps.

    The averages of batch norm are made anew then.
    """
    dataset = synthetic.load(train=24, test=14)
    settings = program.resolve(settings, dataset)
    chosen = devices.choose("cpu", count, cluster=cluster)
    config, peers = chosen.config(), Peers(cluster)
    peers.rendezvous(config, 300.0, {})
    with tf.Graph().as_default(), tf.Session(peers.target, config=config) as session:
        with BUILDING:
            task = program.problem(settings, dataset)
            training = problem.build(task, chosen.names, dtype, cluster)
            evaluation = Evaluation(task, training.kernels[0], cluster, dtype=dtype)
            callbacks = program.callbacks(settings, session, training)
            precise = Precise(training, 2, cluster)
            peers.prepare()
            initialize = tf.global_variables_initializer()
        session.run(initialize)
        if not cluster.is_chief:  # what the chief sends is to be seen
            for variable in variables.saved():
                session.run(variable.initializer, {variable.initializer.inputs[1]: np.zeros(variable.shape)})
        peers.broadcast(session)
        for store in [*training.stores, evaluation.store]:
            store.fill(session)
        for step in range(steps):
            _, loss = session.run([training.train_op, training.metrics["loss"]])
            for callback in callbacks:
                callback.after_step(step, {})
        assert precise.make(session)
        metrics = evaluation.metrics(session)
        values = session.run({variable.op.name: variable for variable in tf.global_variables()})
        peers.barrier(session)
    metrics = (metrics.cross_entropy, metrics.error, metrics.error_k)
    return {**values, "the loss": loss, "the metrics": np.array(metrics)}


def main(folder, processes, count, index, port, cases):
    for number, case in enumerate(ALL):
        if case not in cases:
            continue
        name, dtype = case.split("-")
        first = port + processes * number
        workers = tuple(f"127.0.0.1:{first + worker}" for worker in range(processes))
        cluster = Cluster(workers if processes > 1 else (), index)
        program, settings = CASES[name]
        if dtype == "float32":
            settings = dataclasses.replace(settings, **SLOW[name])
        values = trained(program, settings, DTYPES[dtype], cluster, count, STEPS[dtype])
        np.savez(os.path.join(folder, f"{case}-{processes}x{count}-{index}.npz"), **values)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6:] or ALL)
