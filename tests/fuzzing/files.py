"""Small valid files of every format that is read, and the hostile ones that somebody would have to write by hand."""

import gzip
import io
import os
import pathlib
import pickle
import struct
import subprocess
import tarfile

import numpy as np

LIMIT = 1 << 20  # a megabyte


def cifar_batches():
    """A CIFAR-100 batch of three images as different writers pickle it."""
    rows = np.random.RandomState(0).randint(0, 256, (3, 3072)).astype(np.uint8)
    text = {"data": rows, "fine_labels": [0, 99, 7], "coarse_labels": [1, 2, 3], "filenames": ["a", "b", "c"]}
    names = {key.encode(): value for key, value in text.items()}
    return [pickle.dumps(batch, protocol) for batch in (text, names) for protocol in (0, 2, 4, 5)]


def cifar_set():
    batches = cifar_batches()
    return {"cifar-100-python/train": batches[1], "cifar-100-python/test": batches[6]}


def member(name, kind=tarfile.REGTYPE, contents=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(contents)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, contents


def header(name, kind, size):
    """The header of a member, whatever follows it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def tar_of(members, format=tarfile.GNU_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for info, contents in members:
            tar.addfile(info, io.BytesIO(contents))
    return stream.getvalue()


def cifar_members():
    files = [member(name, contents=contents) for name, contents in cifar_set().items()]
    return [member("cifar-100-python", tarfile.DIRTYPE, mode=0o755), *files]


def cifar_tars():
    long = member("cifar-100-python/" + "x" * 150, contents=b"passed over")
    return [tar_of([*cifar_members(), long], kind) for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def checkpoint_variables():
    """Makes the variables of the checkpoint; returns those needed and those optional."""
    from common.graph import initializers, variables
    from common.graph.variables import Role

    step = variables.global_step()
    weight = variables.create("layer/weight", [4, 3], Role.WEIGHT, initializers.ones)
    bias = variables.create("layer/bias", [3], Role.BIAS, initializers.zeros)
    return [step, weight, bias], []


def checkpoint_set(folder):
    """Writes a checkpoint as TensorFlow does, with no sum beside it, and returns its files."""
    from common.compat import tf

    with tf.Graph().as_default(), tf.Session() as session:
        needed, _ = checkpoint_variables()
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver({variable.op.name: variable for variable in needed})
        saver.save(session, str(folder / "model.ckpt"), global_step=7, write_meta_graph=False)
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir() if "ckpt-7" in path.name}


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _name(module, name):
    return f"c{module}\n{name}\n".encode()


def _text(value):
    return b"X" + struct.pack("<I", len(value)) + value


# A tuple of two times the same tuple of two times the same ...: 2^60 things in a few bytes.
_HUGE = b")" + b"2\x86" * 60


def hostile_pickles(mark):
    """Pickles that run something, or take for ever, or much memory, in a careless reader; `mark` would be made.

    test_pickles.py has more of them, each of which is refused.
    """
    touch = f"touch {mark}"
    array = pickle.dumps(np.zeros([2, 2], np.uint8), 2)
    rows = pickle.dumps({"data": np.zeros([2, 3072], np.uint8), "fine_labels": [0, 1]}, 2)
    dtype = _name("numpy", "dtype")
    rebuild, protocol = _name("numpy._core.multiarray", "_reconstruct"), b"\x80\x04"
    return {
        "os.system": pickle.dumps(Calls(os.system, touch), 2),
        "import": pickle.dumps(Calls(__import__, "antigravity"), 0),
        "nested in the data": pickle.dumps({"data": Calls(os.system, touch), "fine_labels": [0]}, 2),
        "subprocess": pickle.dumps(Calls(subprocess.Popen, ["touch", mark]), 4),
        "reconstruct with a call": rebuild + b"(" + _name("os", "system") + b"S'" + touch.encode() + b"'\ntR.",
        "state of an array with a call": array[:-2] + _name("os", "system") + b"S'x'\n\x85Rb.",
        "newobj": b"cos\nsystem\nS'" + touch.encode() + b"'\n\x85\x81.",
        "stack global": protocol + b"\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
        "huge tuple as module": protocol + _HUGE + b"K\x02\x93.",
        "huge tuple as type": dtype + b"(" + _HUGE + b"tR.",
        "huge tuple as order": dtype + b"(" + _text(b"u1") + b"tR(K\x03" + _HUGE + b"tb.",
        "huge tuple as data": b"}" + _text(b"data") + _HUGE + b"s.",
        "huge tuple as a label": rows[:-1] + _text(b"fine_labels") + b"](" + _HUGE + b"es.",
        "huge tuple as shape": array.replace(b"K\x02K\x02\x86", _HUGE),
        "list in itself": b"]q\x00h\x00a.",
        "deep lists": b"]" * 200_000 + b"a" * 199_999 + b".",
        "text many times": b"X\x00\x00\x01\x00" + b"a" * (1 << 16) + b"q\x01"
        + (_name("_codecs", "encode") + b"h\x01" + _text(b"latin1") + b"\x86R") * 5000 + b".",
        "digits": b"I" + b"9" * 200_000 + b"\n.",
        "negative shape": array.replace(b"K\x02K\x02\x86", b"J\xff\xff\xff\xffJ\xfc\xff\xff\xff\x86"),
        "buffer out of band": b"\x80\x05\x97\x98.",
        "empty": b"",
        "name of a megabyte": _name("x" * LIMIT, "y" * LIMIT) + b".",
        "label of many digits": rows[:-1] + _text(b"fine_labels") + b"](L" + b"9" * 4000 + b"L\nes.",
    }


def hostile_tars(outside):
    """Archives {name: tar bytes} that reach out of the folder, or are odd; test_archive.py has more of them."""
    good = cifar_members()
    inside = "cifar-100-python/train"

    hostile = {
        "absolute": [member(outside, contents=b"x")],
        "block device": [member(inside, tarfile.BLKTYPE, devmajor=8)],
        "continuous": [member(inside, tarfile.CONTTYPE, contents=b"x")],
        "name with a line break": [member("cifar-100-python/a\nb\n../c", tarfile.SYMTYPE, linkname="x\ny")],
        "set-user-id": [member(inside, contents=b"x", mode=0o7777, uid=0)],
        "time out of range": [member(inside, contents=b"x", mtime=(1 << 60) - 1)],
        "deep name": [member("a/" * 30_000 + "b", contents=b"x")],
        "many deep names": [member("a/" * 30_000 + str(number), contents=b"x") for number in range(20)],
        "unknown type": [member(inside, b"Z", contents=b"x")],
    }
    tars = {name: tar_of([*members, *good]) for name, members in hostile.items()}
    tars |= {f"{name} at the end": tar_of([*good, *members]) for name, members in hostile.items()}
    pax = {"size": "99999999999999", "path": "x", "mtime": "nan"}
    sparse, zero = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, {"path": "cifar-100-python/a\0b"}
    return tars | {
        "duplicates": tar_of([*good, *good, *good]),
        "negative size": header(inside, tarfile.REGTYPE, -(1 << 40)) + bytes(LIMIT),
        "chain of long names": (header("x", tarfile.GNUTYPE_LONGNAME, 5) + b"name\0".ljust(512, b"\0")) * 3000,
        "chain of pax headers": (header("x", tarfile.XGLTYPE, 12) + b"12 path=abc\n".ljust(512, b"\0")) * 3000,
        "pax values": tar_of([member(inside, pax_headers=pax), *good], tarfile.PAX_FORMAT),
        "pax sparse": tar_of([member(inside, pax_headers=sparse)], tarfile.PAX_FORMAT),
        "pax path with a zero": tar_of([member("x", pax_headers=zero), *good], tarfile.PAX_FORMAT),
        "empty": b"",
        "zeros": bytes(10240),
    }


def hostile_archives(outside):
    """The same as .tar.gz, and such as only the compression makes hostile."""
    files = {name: gzip.compress(tar, 1, mtime=0) for name, tar in hostile_tars(outside).items()}
    return files | {
        "bomb": _bomb("cifar-100-python/train", tarfile.REGTYPE, 100),
        "long name bomb": _bomb("x", tarfile.GNUTYPE_LONGNAME, 16),
        "pax bomb": _bomb("x", tarfile.XHDTYPE, 16),
        "many empty streams": gzip.compress(b"", mtime=0) * 20_000,
        "endless file name": b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * LIMIT,
        "rest behind": gzip.compress(cifar_tars()[0], mtime=0) + b"rest",
    }


def _bomb(name, kind, megabytes):
    return gzip.compress(header(name, kind, megabytes << 20) + bytes(megabytes << 20), mtime=0)
