"""Data sets by name: where they are looked for, and what happens when they are nowhere."""

import functools
import hashlib
import http.server
import pathlib
import pickle
import tarfile
import threading
import types

import numpy as np
import pytest
from scipy.io import savemat

from common.data import datasets, names
from common.data.dataset import DataError
from common.data.datasets import NotAvailable
from common.data.download import PUBLISHED, Published

DEFAULT = names.DEFAULT_DATA_DIR


def cifar100(folder, count=4):
    """Writes a tiny CIFAR-100 into `folder`/cifar-100-python; its size tells which one was read."""
    folder = pathlib.Path(folder) / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        batch = {b"data": np.zeros([count, 3072], np.uint8), b"fine_labels": [0, 99] + [1] * (count - 2)}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    return folder


def packed(folder):
    """Writes the same as a .tar.gz into `folder`."""
    source = cifar100(folder / "source")
    with tarfile.open(folder / "cifar-100-python.tar.gz", "w:gz") as tar:
        tar.add(source, source.name)
    return folder / "cifar-100-python.tar.gz"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A clone of one's own, a current folder, and no addresses that could be reached."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(datasets, "ROOT", tmp_path / "clone")
    monkeypatch.setattr(datasets.fashion_mnist, "DEBIAN", tmp_path / "debian")
    monkeypatch.chdir(tmp_path / "here")
    for name, sources in PUBLISHED.items():
        closed = tuple(Published(source.file, ("http://127.0.0.1:1/" + source.file,), source.md5) for source in sources)
        monkeypatch.setitem(PUBLISHED, name, closed)
    return tmp_path


def load(name, data_dir=DEFAULT, **options):
    return datasets.load(name, data_dir, say=lambda line: None, **options)


def test_the_default_folder_is_looked_for_here_then_in_the_clone(places, monkeypatch):
    root = places / "clone"
    assert datasets.search_folders() == [places / "here" / "datasets", root / "datasets", root]
    assert datasets.search_folders("datasets") == datasets.search_folders("./datasets/")
    for count, folder in ((4, root), (5, root / "datasets"), (6, places / "here" / "datasets")):
        cifar100(folder, count)
        assert len(load("cifar100").train_images) == count
    monkeypatch.chdir(root)
    assert datasets.search_folders() == [root / "datasets", root]


def test_a_named_folder_is_searched_alone(places):
    cifar100(places / "clone" / "datasets")
    (places / "mine").mkdir()
    assert datasets.search_folders(str(places / "mine")) == [places / "mine"]
    with pytest.raises(NotAvailable):
        load("cifar100", str(places / "mine"))


def test_a_named_folder_may_hold_the_folder_be_it_or_hold_the_archive_or_be_the_archive(places):
    folder = cifar100(places / "a")
    archive = packed(places)
    for data_dir in (places / "a", folder, archive, places):
        assert len(load("cifar100", str(data_dir)).train_images) == 4
        assert load("auto", str(data_dir)).name == "cifar100"


def test_a_named_folder_that_is_not_there_is_an_error_for_a_named_set_and_no_data_for_auto(places):
    with pytest.raises(DataError, match="nowhere does not exist; make it for cifar100") as raised:
        datasets.load("cifar100", places / "nowhere")
    assert "\n" not in str(raised.value)
    data = load("auto", places / "nowhere")
    assert data.name == "digits" and any("nowhere does not exist" in line for line in data.remarks)
    assert not (places / "nowhere").exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashion_mnist"])
def test_a_named_set_that_is_nowhere_is_an_error_that_says_what_to_do(places, name):
    with pytest.raises(NotAvailable) as raised:
        load(name)
    message = str(raised.value)
    assert "\n" not in message and isinstance(raised.value, ValueError)
    for part in [*datasets.search_folders(), PUBLISHED[name][0].urls[0], places / "clone" / "datasets"]:
        assert str(part) in message


def test_a_named_set_is_never_replaced(places):
    cifar100(places / "clone")
    with pytest.raises(NotAvailable, match="cifar10 is not in"):
        load("cifar10")


def test_auto_says_loudly_that_it_takes_the_digits():
    data = load("auto", default="cifar10")
    assert data.name == "digits" and len(data.remarks) >= 4
    assert "CIFAR10, IS NOT HERE. TRAINING ON HANDWRITTEN DIGITS" in " ".join(data.remarks)
    assert not any("TRAINING" in line for line in load("auto", task="test").remarks)
    assert load("digits").remarks == ()


def test_home_is_where_a_tilde_says(places, monkeypatch):
    monkeypatch.setenv("HOME", str(places))
    cifar100(places / "mine")
    assert load("cifar100", "~/mine").name == "cifar100"
    with pytest.raises(DataError, match="data_dir ~nobody-of-this-name/mine does not exist"):
        load("cifar100", "~nobody-of-this-name/mine")
    with pytest.raises(DataError, match="nobody-of-this-name/own.npz: .*there is no such file"):
        load("~nobody-of-this-name/own.npz")


def test_a_folder_that_cannot_be_searched_is_named(places, monkeypatch):
    def refuse(folders):
        raise PermissionError(13, "Permission denied", str(folders[0]))

    monkeypatch.setitem(datasets._READERS, "cifar10", types.SimpleNamespace(find=refuse))
    with pytest.raises(DataError, match="here: cannot be searched for cifar10 .Permission denied"):
        load("cifar10", str(places / "here"))


def test_auto_does_not_pass_over_files_that_are_broken(places):
    folder = cifar100(places / "clone")
    (folder / "train").write_bytes(b"broken")
    with pytest.raises(DataError, match="train: "):
        load("auto")


def test_sets_made_here_need_no_folder():
    assert load("digits", "/nowhere").name == "digits" and load("synthetic", "/nowhere").name == "synthetic"


def test_an_unknown_name_is_an_error_with_the_names():
    with pytest.raises(ValueError, match="--data=mnist: expected one of auto, .* folder with train/ and test/$"):
        load("mnist")


def own(folder, test=True):
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"x_train": np.zeros([4, 8, 8], np.uint8), "y_train": np.arange(4) % 2}
    contents |= {"x_test": np.zeros([2, 8, 8], np.uint8), "y_test": np.arange(2)} if test else {}
    np.savez(folder / "own.npz", **contents)
    return str(folder / "own.npz")


def test_own_images_are_found_by_their_path(places, monkeypatch):
    path = own(places / "here")
    assert load("own.npz").name == path == names.check("own.npz") == names.check(path)
    monkeypatch.setenv("HOME", str(places / "here"))
    assert names.check("~/own.npz") == path and names.check("OWN.NPZ").endswith("/OWN.NPZ")
    assert names.title(path) == "own" and names.title("cifar100") == "cifar100"
    with pytest.raises(ValueError, match="--image_size=8: the images of .*own.npz have a size"):
        load(path, image_size=8)
    with pytest.raises(DataError, match="nowhere.npz: .*there is no such file"):
        load("nowhere.npz")
    for name in ("nowhere", "gs://bucket/own.npz", "./nowhere"):
        with pytest.raises(ValueError, match="expected one of auto, .*, or the path of an .npz file or of a folder"):
            load(name)


def test_a_folder_of_pictures_may_have_any_path_but_a_name_wins(places):
    Image = pytest.importorskip("PIL.Image")
    for split in ("train", "test"):
        (places / "here" / "digits" / split / "a").mkdir(parents=True)
        Image.new("RGB", (9, 5)).save(places / "here" / "digits" / split / "a" / "x.png")
    assert load("./digits").train_images.shape == (1, 5, 9, 3)
    assert load("./digits/", image_size=6).train_images.shape == (1, 6, 6, 3)
    assert load("digits").name == "digits"


def test_a_holdout_is_taken_and_needed_without_a_test_part(places):
    assert len(load("digits", holdout=100).holdout_images) == 100
    path = own(places / "here", test=False)
    with pytest.raises(DataError, match="own.npz: has no test and no validation part; --holdout=N"):
        load(path)
    assert load(path, holdout=1).validation().split == "holdout"


def test_svhn_is_found(places):
    (places / "mine").mkdir()
    for source in PUBLISHED["svhn"]:
        contents = {"X": np.zeros([32, 32, 3, 2], np.uint8), "y": np.array([[1], [10]])}
        savemat(places / "mine" / source.file, contents)
    assert len(load("svhn", str(places / "mine")).train_images) == 4


def test_what_is_nowhere_is_downloaded_checked_and_unpacked(places, monkeypatch):
    archive = packed(places / "here")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        source = Published(archive.name, (address,), hashlib.md5(archive.read_bytes()).hexdigest())
        monkeypatch.setitem(PUBLISHED, "cifar100", (source,))
        assert len(load("auto").train_images) == 4
        (places / "mine").mkdir()
        assert len(load("cifar100", str(places / "mine")).train_images) == 4
        server.shutdown()
    for folder in (places / "clone" / "datasets", places / "mine"):
        assert sorted(path.name for path in folder.iterdir()) == ["cifar-100-python", "cifar-100-python.tar.gz"]
