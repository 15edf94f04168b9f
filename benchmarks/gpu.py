"""How busy a GPU is, by nvidia-smi's own samples."""

import shutil
import subprocess
import time

_INTERVAL = 100  # milliseconds between samples
_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={_INTERVAL}")


def utilisation(call, seconds=2.0, clock=time.perf_counter):
    """Calls `call` again and again for some seconds; returns the mean utilisation of the first GPU in percent.

    That is the share of time in which any kernel ran. None where nvidia-smi is not installed or says nothing.
    """
    if shutil.which(_QUERY[0]) is None:
        return None
    sampler = subprocess.Popen(_QUERY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        start = clock()
        while clock() - start < seconds:
            call()
    finally:
        sampler.terminate()
    samples = [line.strip() for line in sampler.communicate()[0].splitlines()]
    samples = [float(sample) for sample in samples if sample.isdigit()]
    inner = samples[len(samples) // 4 :]  # the first ones look back on the time before
    return sum(inner) / len(inner) if inner else None
