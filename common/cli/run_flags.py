"""Flags of all programs that say nothing of what is trained; apart from the programs, which need TensorFlow."""

# How a run reports, saves and computes: it may change at any time.
FREE = (
    "data_dir", "vali_batch_size", "report_freq", "vali_freq", "save_freq", "max_to_keep", "device", "num_gpus",
    "visible_devices", "log_device_placement", "tensorboard", "verbose",
)  # fmt: skip

# What to do, and where.
PLACE = (
    "task", "train_dir", "train_path", "load", "export_dir", "resume", "worker_hosts", "task_index", "start_timeout",
    "collective_timeout",
)  # fmt: skip

# What may differ between the processes of a cluster.
PER_WORKER = frozenset(PLACE) | {
    "data_dir", "report_freq", "max_to_keep", "device", "visible_devices", "log_device_placement",
    "tensorboard", "verbose",
}  # fmt: skip

# Flags that came later, and what runs of versions without them did, whose flags.txt does not have them: all programs'
# first, then those of methods that have more.
LATER = {"lr_scale": "none", "warmup_steps": "0", "sync_bn": "True"}
LATER_OF = {"sopt_gs": {"map": "gs"}}
