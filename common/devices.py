"""Which devices a program runs on."""

import dataclasses
import os

from common.compat import tf


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devices of a run, one for each replica.

    Attributes:
      names: as for `tf.device`; None leaves a single replica's placement to TensorFlow.
      description: for the log.
      warning: what has to be said loudly, or None.
    """

    names: tuple
    description: str
    warning: str | None = None

    def session(self, log_placement=False):
        """Opens a session on these devices; `log_placement` prints on which one each operation runs."""
        config = tf.ConfigProto(
            allow_soft_placement=True,
            log_device_placement=log_placement,
            device_count={"CPU": max(len(self.names), 1)},
        )
        # This pass turns sums of three and more into AddN, whose order, and so the last bit, varies from run to run.
        config.graph_options.rewrite_options.arithmetic_optimization = 2  # RewriterConfig.OFF
        # Nor is anything computed when the graph is looked at: initial values and identities would be held as constants
        # of every copy of the graph, for as long as the session is open. Level 0 (-1 here) folds no constants either.
        config.graph_options.rewrite_options.constant_folding = 2
        config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
        config.gpu_options.allow_growth = True
        config.experimental.collective_group_leader = "/job:localhost/replica:0/task:0"
        return tf.Session(config=config)


def choose(device="auto", count=1, visible_devices=None):
    """Returns the `Devices` for `count` replicas; call it before the first session.

    Args:
      device: "auto" takes GPUs if there are any, else the CPU; "gpu" and "cpu" insist.
      count: how many replicas.
      visible_devices: which GPUs may be used, their numbers with commas between them; None for all.

    With no GPU at all, several replicas run on virtual CPU devices: right but not faster, which the warning says.
    Raises ValueError if a GPU is insisted on and there is none, or if there are some but fewer than `count`.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    elif visible_devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices
    gpus = tf.config.experimental.list_physical_devices("GPU")
    if not gpus:
        return _on_cpu(device, count)
    if len(gpus) < count:
        names = ", ".join(gpu.name for gpu in gpus)
        raise ValueError(f"{count} GPUs are asked for and there are {len(gpus)}: {names}; lower --num_gpus")
    if count == 1:
        return Devices((None,), _gpu_name(gpus[0]))
    return Devices(tuple(f"/gpu:{index}" for index in range(count)), f"{count} GPUs ({_gpu_name(gpus[0])})")


def _on_cpu(device, count):
    if device == "gpu":
        raise ValueError(
            "--device=gpu: TensorFlow finds no GPU here; install with pip install -e '.[gpu]', check nvidia-smi and "
            "--visible_devices, or run on the CPU with --device=cpu"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if count == 1:
        return Devices((None,), f"CPU ({cores} cores)")
    names = tuple(f"/cpu:{index}" for index in range(count))
    reason = "THERE IS NO GPU HERE" if device == "auto" else "NO GPU IS USED (--device=cpu)"
    warning = (
        f"{reason}: --num_gpus={count} runs on {count} virtual devices of one CPU. "
        f"The results are those of {count} GPUs, the speed is not."
    )
    return Devices(names, f"{count} virtual CPU devices ({cores} cores)", warning)


def _gpu_name(gpu):
    details = tf.config.experimental.get_device_details(gpu)
    return f"GPU {details.get('device_name', gpu.name)}"
