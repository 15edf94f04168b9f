"""nvidia-smi's samples, from a program that stands in for it."""

import time

from benchmarks import gpu


def test_without_nvidia_smi_there_is_no_figure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.utilisation(lambda: None, 0.01) is None


def test_the_mean_of_the_later_samples(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n[N/A]\\n90\\n100\\n80\\n'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    calls = []
    assert gpu.utilisation(lambda: calls.append(time.sleep(0.01)), 0.5) == 90.0
    assert calls
