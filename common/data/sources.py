"""Where the published files are: addresses and MD5 sums."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Source:
    """One file that can be downloaded: its name, its addresses in the order to try them, its MD5 sum."""

    file: str
    urls: tuple
    md5: str


def _toronto(file, md5):
    # The first host is the published one; it has been slow since 2026, and the second has the same files.
    return Source(file, (f"https://www.cs.toronto.edu/~kriz/{file}", f"https://cave.cs.toronto.edu/kriz/{file}"), md5)


def _stanford(file, md5):
    return Source(file, (f"http://ufldl.stanford.edu/housenumbers/{file}",), md5)


SOURCES = {
    "cifar10": (_toronto("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    "cifar100": (_toronto("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
    "svhn": (
        _stanford("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        _stanford("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        _stanford("extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"),
    ),
}
