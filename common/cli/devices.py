"""Which devices a program runs on."""

import dataclasses
import os

from common.compat import tf
from common.distributed.cluster import ALONE, Cluster


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devices of a run, one for each replica.

    Attributes:
      names: as for `tf.device`; None leaves a single replica's placement to TensorFlow.
      description: for the log.
      kind: CPU or GPU.
      warning: what has to be said loudly, or None.
      gpus: how many of them are GPUs; the others share the machine's memory.
      cluster: the `Cluster` that the process belongs to.
    """

    names: tuple
    description: str
    kind: str
    warning: str | None = None
    gpus: int = 0
    cluster: Cluster = ALONE

    def be_deterministic(self):
        """From now on all operations of this process give the same bits in every run, or refuse to run.

        Raises ValueError if several GPUs share a batch: nobody has seen yet that their sums repeat.
        """
        gpus = self.gpus * self.cluster.count
        if gpus > 1:
            raise ValueError(
                f"--deterministic: {gpus} GPUs would share each batch, and nobody has seen such runs repeat; train on "
                "one, or leave --deterministic out"
            )
        tf.compat.v2.config.experimental.enable_op_determinism()

    def session(self, log_placement=False):
        """Opens a session on these devices; `log_placement` prints on which one each operation runs."""
        return tf.Session(config=self.config(log_placement))

    def config(self, log_placement=False):
        """Returns the configuration of a session, and of a server."""
        config = tf.ConfigProto(
            allow_soft_placement=True,
            log_device_placement=log_placement,
            # GPUs that were listed before `choose` hid them would still be used.
            device_count={"CPU": max(len(self.names), 1), **({} if self.gpus else {"GPU": 0})},
        )
        # This pass turns sums of three and more into AddN, whose order, and so the last bit, varies from run to run.
        config.graph_options.rewrite_options.arithmetic_optimization = 2  # RewriterConfig.OFF
        # Nor is anything computed when the graph is looked at: initial values and identities would be held as constants
        # of every copy of the graph, for as long as the session is open. Level 0 (-1 here) folds no constants either.
        config.graph_options.rewrite_options.constant_folding = 2
        config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
        config.gpu_options.allow_growth = True
        return self.cluster.configure(config)


def choose(device="auto", count=1, visible_devices=None, cluster=ALONE):
    """Returns the `Devices` for `count` replicas; call it before the first session.

    Args:
      device: "auto" takes GPUs if there are any, else the CPU; "gpu" and "cpu" insist.
      count: how many replicas.
      visible_devices: which GPUs may be used, their numbers with commas between them; None for all.
      cluster: the `Cluster` that the process belongs to.

    With no GPU at all, several replicas run on virtual CPU devices: right but not faster, which the warning says.
    Raises ValueError if a GPU is insisted on and there is none, or if there are some but fewer than `count`.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    elif visible_devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices
    gpus = [] if device == "cpu" else tf.config.experimental.list_physical_devices("GPU")
    return dataclasses.replace(_on_gpus(gpus, count) if gpus else _on_cpu(device, count), cluster=cluster)


def _on_gpus(gpus, count):
    if len(gpus) < count:
        names = ", ".join(gpu.name for gpu in gpus)
        raise ValueError(f"{count} GPUs are asked for and there are {len(gpus)}: {names}; lower --num_gpus")
    if count == 1:
        return Devices((None,), _gpu_name(gpus[0]), "GPU", gpus=1)
    names = tuple(f"/gpu:{index}" for index in range(count))
    return Devices(names, f"{count} GPUs ({_gpu_name(gpus[0])})", "GPU", gpus=count)


def _on_cpu(device, count):
    if device == "gpu":
        raise ValueError(
            "--device=gpu: TensorFlow finds no GPU here; install with pip install -e '.[gpu]', check nvidia-smi and "
            "--visible_devices, or run on the CPU with --device=cpu"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if count == 1:
        return Devices((None,), f"CPU ({cores} cores)", "CPU")
    names = tuple(f"/cpu:{index}" for index in range(count))
    reason = "THERE IS NO GPU HERE" if device == "auto" else "NO GPU IS USED (--device=cpu)"
    warning = (
        f"{reason}: --num_gpus={count} runs on {count} virtual devices of one CPU. "
        f"The results are those of {count} GPUs, the speed is not."
    )
    return Devices(names, f"{count} virtual CPU devices ({cores} cores)", "CPU", warning)


def _gpu_name(gpu):
    details = tf.config.experimental.get_device_details(gpu)
    return f"GPU {details.get('device_name', gpu.name)}"
