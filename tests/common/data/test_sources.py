"""The table of published files."""

from common.data.sources import SOURCES


def test_every_file_has_an_address_and_a_sum():
    assert set(SOURCES) == {"cifar10", "cifar100", "svhn"}
    for source in sum(SOURCES.values(), ()):
        assert len(source.md5) == 32 and int(source.md5, 16)
        assert all(url.startswith("http") and url.endswith("/" + source.file) for url in source.urls)


def test_cifar_has_a_second_address_and_only_safe_ones():
    for name in ("cifar10", "cifar100"):
        assert len(SOURCES[name][0].urls) == 2 and all(url.startswith("https:") for url in SOURCES[name][0].urls)
