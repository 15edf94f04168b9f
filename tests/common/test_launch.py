"""The launcher with commands that take no time: output, statuses, signals, restarts, and nothing left behind."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from common import launch
from common.distributed.processes import end_with
from common.launch import Settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds that a test waits for what takes well below one, on a busy machine


def run(script, *words, environment=None, **options):
    """Runs a Python script as the launcher's command, in this process; returns the status."""
    command = [sys.executable, "-c", f"import os, sys, time, json, signal\n{script}", *words]
    return launch.run(Settings(**options), command, environment or dict(os.environ))


@pytest.fixture
def start():
    """Starts the launcher as a process, from a shell's point of view; at the test's end none is left."""
    started, parent = [], os.getpid()

    def prepare(hangup):
        signal.signal(signal.SIGHUP, hangup)  # the tests themselves may run under nohup
        end_with(parent)

    def start(script, *words, after=(), hangup=signal.SIG_DFL):
        own = [sys.executable, "-m", "common.launch", "--workers=2", "--grace=20", *words, "--"]
        command = [*own, sys.executable, "-c", f"import os, sys, time, signal\n{script}", *after]
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: prepare(hangup),
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()  # the kernel then ends its workers
        process.communicate()


def numbers(lines, count):
    """Process numbers that `count` lines of output end with."""
    return [int(re.search(r"(\d+)$", lines.readline().strip())[1]) for _ in range(count)]


def gone(process):
    """Whether a process has ended; one that waits for its parent to notice has."""
    try:
        status = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status in "ZX"


def until(condition):
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < PATIENCE
        time.sleep(0.02)


MINE = 'index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]\n'


def test_each_worker_learns_who_it_is_and_its_lines_are_marked(capfd):
    script = 'print(os.environ["TF_CONFIG"]); print("two\\r\\ntoo"); print("no newline", end="", file=sys.stderr)'
    assert run(script, workers=3) == 0
    out, err = capfd.readouterr()
    assert sorted(err.splitlines()) == [f"[{index}] no newline" for index in range(3)]
    lines = [line for line in out.split("\n") if "cluster" in line]
    hosts = json.loads(lines[0][4:])["cluster"]["worker"]
    for line in lines:
        index = int(line[1])
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        assert line.startswith(f"[{index}] ") and json.loads(line[4:]) == config
    assert sorted(line[1] for line in lines) == ["0", "1", "2"]
    assert len(set(hosts)) == 3 and all(re.fullmatch(r"127\.0\.0\.1:\d+", host) for host in hosts)
    assert len(re.findall(r"^\[\d\] too$", out, re.MULTILINE)) == 3


def test_ports_differ_and_are_nobody_elses_while_they_are_reserved():
    with launch.reserved(50) as ports, launch.reserved(50) as others:
        assert len({*ports, *others}) == 100
        assert all(1024 <= port <= 65_535 for port in ports)
        for host in ("127.0.0.1", "127.0.0.2"):  # a server listens on all interfaces
            with pytest.raises(OSError), socket.socket() as another:
                another.bind((host, ports[0]))


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (MINE + "sys.exit(3 * index)", 3),
        (MINE + "index and os.kill(os.getpid(), signal.SIGKILL)", 128 + 9),
        (MINE + 'time.sleep(0.5 * index); print("ends by itself"); sys.exit(5 + index)', 5),
    ],
)
def test_the_status_is_that_of_the_first_that_failed(script, status, capfd):
    assert run(script, workers=2) == status
    out, err = capfd.readouterr()
    assert out == ("[0] ends by itself\n[1] ends by itself\n" if status == 5 else "")
    how = "SIGKILL" if status == 128 + 9 else f"status {status}"
    assert err.startswith(f"launch: worker {int(status != 5)} ended with {how}") and err.count("launch:") == 1


def test_after_the_grace_period_comes_sigterm_and_then_sigkill(tmp_path, capfd):
    # Worker 1 obeys SIGTERM, worker 2 does not; worker 0 fails once both are ready for it.
    script = MINE + f"""
folder = {str(tmp_path)!r}
def handle(number, frame):
    print("asked to end", flush=True)
    index == 1 and sys.exit(7)
if index == 0:
    while len(os.listdir(folder)) < 2:
        time.sleep(0.01)
    sys.exit(4)
signal.signal(signal.SIGTERM, handle)
open(os.path.join(folder, str(index)), "w").close()
while True:
    time.sleep(0.01)
"""
    assert run(script, workers=3, grace=0.5) == 4
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["[1] asked to end", "[2] asked to end"]
    assert err.splitlines() == [
        "launch: worker 0 ended with status 4; the others have 0.5 s to end by themselves",
        "launch: worker 1, 2 has not ended: SIGTERM",
        "launch: worker 2 has not ended: SIGKILL",
    ]


COUNTS_SIGNALS = """
came = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: came.append(number))
print(os.getpid(), flush=True)
while not came:
    time.sleep(0.01)
time.sleep(0.3)
print(*came, flush=True)
sys.exit(128 + came[0])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_to_all_once_and_gives_the_status(sent, start):
    process = start(COUNTS_SIGNALS, "--max_restarts=1", after=["--train_path=x"])
    numbers(process.stdout, 2)
    os.killpg(process.pid, sent)  # as a terminal does, to every process of the group
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + sent, err
    assert sorted(out.splitlines()) == [f"[{index}] {int(sent)}" for index in range(2)]
    assert "RESTART" not in err


def test_under_nohup_a_lost_terminal_is_ignored(start):
    process = start(COUNTS_SIGNALS, hangup=signal.SIG_IGN)
    workers = numbers(process.stdout, 2)
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None and not any(gone(worker) for worker in workers)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_second_signal_kills_all_at_once(start):
    process = start("signal.signal(2, signal.SIG_IGN); print(os.getpid(), flush=True)\nwhile True: time.sleep(1)")
    workers = numbers(process.stdout, 2)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)  # two signals of one number that nobody has taken yet are one
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=15)  # below the grace period
    assert process.returncode == 128 + signal.SIGINT
    assert all(gone(worker) for worker in workers)


def test_lines_are_seen_when_they_are_written_and_killed_with_kill_9_it_leaves_no_workers(start):
    process = start("print(os.getpid()); time.sleep(1000)")
    workers = numbers(process.stdout, 2)
    assert not any(gone(worker) for worker in workers)
    process.kill()
    until(lambda: all(gone(worker) for worker in workers))


def test_restarts_are_counted_and_resume(tmp_path, capfd):
    script = MINE + 'print("given", sys.argv[1:]); time.sleep(0.2 * index); sys.exit(9)'
    assert run(script, f"--train_path={tmp_path}", workers=2, max_restarts=2) == 9
    out, err = capfd.readouterr()
    path = f"--train_path={tmp_path}"
    for index in range(2):
        mine = [line for line in out.splitlines() if line.startswith(f"[{index}]")]
        assert mine == [f"[{index}] given {[path, *more]}" for more in ([], ["--resume"], ["--resume"])]
    assert re.findall(r"RESTART \d OF \d: .*", err) == [
        f"RESTART {count} OF 2: all start again with --resume" for count in (1, 2)
    ]


def test_a_restart_that_succeeds_ends_well_and_resume_is_not_doubled(tmp_path, capfd):
    words = [f"--train_path={tmp_path}", "--resume"]
    script = 'import pathlib; mark = pathlib.Path(sys.argv[1].partition("=")[2], "x"); print(sys.argv[1:])\n'
    script += "first = not mark.exists(); mark.touch(); sys.exit(first)"
    assert run(script, *words, workers=1, max_restarts=5) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"[0] {words}"] * 2 and err.count("RESTART") == 1


@pytest.mark.parametrize(
    ("command", "options", "environment", "message"),
    [
        ([], {}, {}, "there is no command: write it after --"),
        (["nosuch-command", "x"], {}, {}, "No such file or directory: 'nosuch-command'"),
        (["true", "a"], {"max_restarts": 1}, {}, "--max_restarts=1 needs --train_path=FOLDER in the command"),
        (["true"], {}, {"TF_CONFIG": "{}"}, "TF_CONFIG is set: this is a worker"),
        (["true", "--flagfile=/nowhere"], {}, {}, "nowhere"),
        (["true", "--gpu_no=1"], {"gpus_per_worker": 1}, {}, "--gpus_per_worker chooses the GPUs"),
        (
            ["true"],
            {"gpus_per_worker": 2, "workers": 2},
            {"CUDA_VISIBLE_DEVICES": "0,1,2"},
            "--gpus_per_worker=2: 2 workers need 4 GPUs, and CUDA_VISIBLE_DEVICES=0,1,2 names fewer",
        ),
    ],
)
def test_what_cannot_be_launched_is_refused_in_one_line_before_anything_starts(command, options, environment, message):
    with pytest.raises((ValueError, OSError), match=re.escape(message)) as error:
        launch.run(Settings(**options), command, {**environment, "PATH": os.environ["PATH"]})
    assert "\n" not in str(error.value)


def test_train_path_may_stand_in_a_flagfile(tmp_path):
    (tmp_path / "flags.txt").write_text("# opt_gs\n--train_path=here\n")
    command = ["true", f"--flagfile={tmp_path / 'flags.txt'}"]
    launch.check(Settings(max_restarts=1), command, {})


def test_gpus_are_shared_out_if_asked_for():
    settings = Settings(workers=2, gpus_per_worker=2)

    def visible(index, **environment):
        return launch.environment_of(index, [1, 2], settings, environment)["CUDA_VISIBLE_DEVICES"]

    assert [visible(0), visible(1)] == ["0,1", "2,3"]
    assert visible(1, CUDA_VISIBLE_DEVICES="7,GPU-8932f937,5,3") == "5,3"
    plain = launch.environment_of(0, [1, 2], Settings(workers=2), {"CUDA_VISIBLE_DEVICES": "4"})
    assert plain["CUDA_VISIBLE_DEVICES"] == "4"


def test_bad_flags_and_what_cannot_start_end_with_status_1_and_one_line(tmp_path):
    for words, message in (
        (["--workers=0", "--", "true"], "error: --workers=0: expected at least 1\n"),
        (["--grace=nan", "--", "true"], "error: --grace=nan: expected a finite number, in float32\n"),
        (["--", str(tmp_path)], f"error: {tmp_path}: Permission denied"),
    ):
        done = subprocess.run([sys.executable, "-m", "common.launch", *words], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(message)


def test_it_starts_without_tensorflow():
    code = "import sys, common.launch; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
