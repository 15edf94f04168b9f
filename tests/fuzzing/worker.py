"""A process that reads hostile files and says what came of each: `python -m tests.fuzzing.worker READER`.

One folder a line comes in, one line of JSON goes out: ["data", what], ["error", message] or ["fault", what]. A fault is
anything but data or a ValueError of one line; also a file opened for writing, or anything else changed, outside the
folder, and anything run: an audit hook, which Python calls whatever the code does, sees to that. Memory is limited, so
that a reader which believes what a file claims gets a MemoryError, a fault too.
"""

import json
import os
import resource
import sys
import traceback

_RUNS = {"exec", "compile", "import", "pickle.find_class", "ctypes.dlopen", "marshal.loads", "code.__new__"}
_RUNS |= {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen"}
_RUNS |= {"socket.connect", "socket.bind", "socket.getaddrinfo"}
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
_CHANGES |= {"os.chown", "os.utime", "os.chdir", "os.setxattr", "shutil.rmtree", "shutil.move"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Notes what is run and what is changed outside `folder`, while there is one."""

    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.folder is None:
            return
        if event in _RUNS or event.startswith("subprocess."):
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & _WRITES:
            self._inside(event, arguments[0])
        elif event in _CHANGES and not isinstance(arguments[0], int):
            # With a folder's descriptor the path is relative to it: shutil.rmtree, whose own path was looked at.
            if arguments[-1] == -1 or event in ("os.chdir", "shutil.rmtree"):
                self._inside(event, arguments[0])

    def _inside(self, event, path):
        path = os.path.join(os.path.realpath(os.path.dirname(os.fsdecode(path))), os.path.basename(os.fsdecode(path)))
        if not path.startswith(self.folder + os.sep):
            self.seen.append(f"{event} {path}")


def _cifar(folder):
    """A `Dataset` has checked itself; this reads all of it."""
    from common.data import cifar

    data = cifar.CIFAR100.load(cifar.CIFAR100.find([folder]))
    return f"{data.train_images.shape} {data.test_images.sum()} {data.train_images.sum()} {data.train_labels.max()}"


def _checkpoint(folder):
    from common.compat import tf
    from common.runs import checkpoints
    from tests.fuzzing import files

    with tf.Graph().as_default():
        needed, optional = files.checkpoint_variables()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            checkpoints.load(session, checkpoints.find(folder), needed, optional)
            return str([value.sum() for value in session.run(needed)])


READERS = {"cifar": _cifar, "tar": _cifar, "checkpoint": _checkpoint}


def _outcome(reader, folder, guard):
    guard.seen.clear()
    guard.folder = os.path.realpath(folder)
    try:
        outcome = ["data", reader(folder)]
    except ValueError as error:
        text = str(error)
        guard.folder = None
        fault = "\n" in text or folder not in text or len(text) > 1000
        outcome = ["fault", f"not one line that names the file: {text}"] if fault else ["error", text]
    except BaseException:
        guard.folder = None  # a traceback reads and compiles sources
        outcome = ["fault", traceback.format_exc()]
    guard.folder = None
    return ["fault", "; ".join(guard.seen[:5])] if guard.seen else outcome


def main():
    reader, extra = READERS[sys.argv[1]], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the reader prints is no answer
    guard, first = Guard(), True
    for codec in ("raw-unicode-escape", "latin-1", "ascii"):
        "".encode(codec)  # loaded when first used
    for line in sys.stdin:
        folder = line.rstrip("\n")
        if first:  # a valid file: everything is imported and allocated that any reading needs
            reader(folder)
            with open("/proc/self/statm", encoding="ascii") as file:
                size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (size + extra, size + extra))
            first = False
        answers.write(json.dumps(_outcome(reader, folder, guard)) + "\n")


if __name__ == "__main__":
    main()
