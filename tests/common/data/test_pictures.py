"""Own images from folders of pictures; expected pixels are written down here, not taken from Pillow."""

import builtins
import struct
import zlib

import numpy as np
import pytest

from common.data import pictures
from common.data.dataset import DataError

Image = pytest.importorskip("PIL.Image")

COLOURS = np.random.RandomState(0).randint(0, 256, (6, 8, 3)).astype(np.uint8)


def write(folder, name, pixels=COLOURS, mode=None, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels), mode).save(path, **options)
    return path


def png(path, width, height, depth, colour, rows, *chunks):
    """Writes a PNG file byte by byte: header, other chunks, rows (bytes each)."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
        )
    )
    return path


def small(folder):
    """Two classes, whose pictures are known by their first pixel."""
    for split, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(("cat", "bird")):
            for index in range(count):
                write(folder, f"{split}/{name}/{index}.png", np.full((4, 4, 3), 100 * number + index, np.uint8))
    return folder


def test_a_folder_a_class_numbered_in_string_order(tmp_path):
    data = pictures.load(small(tmp_path))
    assert data.class_names == ("bird", "cat") and data.classes == 2 and data.name == str(tmp_path)
    np.testing.assert_array_equal(data.train_images[:, 0, 0, 0], [100, 101, 102, 0, 1, 2])
    np.testing.assert_array_equal(data.train_labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(data.test_images[:, 0, 0, 0], [100, 101, 0, 1])
    np.testing.assert_array_equal(data.test_labels, [0, 0, 1, 1])
    assert data.train_labels.dtype == np.int32 and data.mirror and data.remarks == ()


def test_reading_shows_a_progress_bar(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(pictures, "tqdm", lambda paths, **options: shown.append((len(paths), options["desc"])) or paths)
    pictures.load(small(tmp_path))
    assert shown == [(10, "pictures")]


def test_string_order_is_not_that_of_numbers(tmp_path):
    for name in ("10", "9", "b", "B"):
        write(tmp_path, f"train/{name}/x.png")
    assert pictures.load(tmp_path).class_names == ("10", "9", "B", "b")
    assert pictures.load(tmp_path).test_images is None


def test_the_order_of_the_disk_does_not_matter(tmp_path, monkeypatch):
    small(tmp_path)
    walk, folders, first = pictures.os.walk, pictures._folders, pictures.load(tmp_path).digest()
    monkeypatch.setattr(pictures, "_folders", lambda place: sorted(folders(place))[::-1])
    backwards = lambda place: ((a, b, sorted(c)[::-1]) for a, b, c in [*walk(place)][::-1])  # noqa: E731
    monkeypatch.setattr(pictures.os, "walk", backwards)
    assert pictures.load(tmp_path).digest() == first


def test_endings_in_any_case_and_deeper_folders(tmp_path):
    write(tmp_path, "train/a/x.PNG", np.full((4, 4, 3), 1, np.uint8))
    write(tmp_path, "train/a/deep/er/x.Jpeg", np.full((4, 4, 3), 2, np.uint8), quality=100)
    write(tmp_path, "train/b/x.JPG", np.full((4, 4, 3), 3, np.uint8), format="PNG")  # known by its contents
    data = pictures.load(tmp_path)
    np.testing.assert_array_equal(data.train_images[:, 0, 0, 0], [2, 1, 3])
    np.testing.assert_array_equal(data.train_labels, [0, 0, 1])


def test_what_is_no_picture_is_counted_in_a_line(tmp_path):
    small(tmp_path)
    for name in ("train/.hidden/x.png", "train/cat/.x.png", "train/cat/Thumbs.db", "test/bird/Desktop.ini"):
        write(tmp_path, name, format="PNG")
    for name in ("train/cat/read.me", "train/loose.png"):
        write(tmp_path, name, format="PNG")
    (tmp_path / "extra" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "link").symlink_to(tmp_path / "train", target_is_directory=True)
    data = pictures.load(tmp_path)
    assert len(data.train_images) == 6 and data.class_names == ("bird", "cat")
    assert data.remarks == (
        f"{tmp_path}: passed over: 4 (hidden: test/bird/Desktop.ini, train/.hidden, train/cat/.x.png ...)",
        f"{tmp_path}: passed over: 2 (no PNG or JPEG of a class: train/cat/read.me, train/loose.png)",
        f"{tmp_path}: passed over: 1 (links to folders: train/cat/link)",
        f"{tmp_path}: passed over: 1 (neither train/, val/ nor test/: extra)",
    )


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_is_the_validation_part(tmp_path, name):
    small(tmp_path)
    without = pictures.load(tmp_path).digest()
    write(tmp_path, f"{name}/bird/x.png", np.full((4, 4, 3), 7, np.uint8))
    write(tmp_path, f"{name}/cat/x.png", np.full((4, 4, 3), 8, np.uint8))
    data = pictures.load(tmp_path)
    assert [(part.split, len(part.images)) for part in data.parts()] == [("train", 6), ("holdout", 2), ("test", 4)]
    np.testing.assert_array_equal(data.holdout_images[:, 0, 0, 0], [7, 8])
    np.testing.assert_array_equal(data.holdout_labels, [0, 1])
    np.testing.assert_array_equal(data.test_images[:, 0, 0, 0], [100, 101, 0, 1])
    assert data.remarks == () and data.digest() != without
    (tmp_path / "test").rename(tmp_path / "elsewhere")
    data = pictures.load(tmp_path)
    assert data.test_images is None and data.validation().split == "holdout"
    assert data.remarks == (f"{tmp_path}: passed over: 1 (neither train/, val/ nor test/: elsewhere)",)


def test_of_two_validation_parts_the_first_name_counts(tmp_path):
    write(small(tmp_path), "val/cat/x.png", np.full((4, 4, 3), 8, np.uint8))
    write(tmp_path, "valid/dog/x.png")
    data = pictures.load(tmp_path)
    assert len(data.holdout_images) == 1
    assert data.remarks == (
        f"{tmp_path}: passed over: 1 (neither train/, val/ nor test/: valid)",
        f"{tmp_path}: val/ has no picture of 1 of 2 classes: bird",
    )


def test_classes_without_test_pictures_are_named(tmp_path):
    for number in range(13):
        write(tmp_path, f"train/{number:02d}/x.png")
    write(tmp_path, "test/01/x.png")
    (tmp_path / "test" / "02").mkdir()
    assert pictures.load(tmp_path).remarks == (
        f"{tmp_path}: test/ has no picture of 12 of 13 classes: 00, 02, 03, 04, 05, 06, 07, 08, 09, 10 ...",
    )


def read(path, image_size=None):
    pixels = pictures._read(path, image_size)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[-1] == 3
    return pixels


def test_grey_gets_three_channels(tmp_path):
    grey = COLOURS[..., 0]
    np.testing.assert_array_equal(read(write(tmp_path, "x.png", grey)), np.repeat(grey[..., None], 3, -1))
    bits = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(bits).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read(tmp_path / "bits.png")[..., 1], bits)


def test_palettes_go_through_the_palette_and_transparency_over_black(tmp_path):
    palette = bytes([10, 20, 30, 200, 100, 50, 7, 8, 9])
    path = png(tmp_path / "x.png", 3, 1, 8, 3, [bytes([0, 1, 2])], (b"PLTE", palette), (b"tRNS", bytes([255, 255, 0])))
    np.testing.assert_array_equal(read(path), [[[10, 20, 30], [200, 100, 50], [0, 0, 0]]])


def test_alpha_lies_over_black(tmp_path):
    colours = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    found = read(write(tmp_path, "x.png", colours)).astype(int)
    assert np.abs(found - [[[200, 100, 50], [0, 0, 0], [100, 50, 25]]]).max() <= 1
    found = read(write(tmp_path, "grey.png", colours[..., 2:], "LA"))
    assert np.abs(found[0, :, 0].astype(int) - [50, 0, 25]).max() <= 1
    one = png(tmp_path / "one.png", 2, 1, 8, 0, [bytes([40, 90])], (b"tRNS", struct.pack(">H", 40)))
    np.testing.assert_array_equal(read(one)[0, :, 0], [0, 90])


def test_16_bits_are_scaled_and_not_clipped(tmp_path):
    values = [0, 255, 257 * 100, 40000, 65535]
    grey = png(tmp_path / "x.png", 5, 1, 16, 0, [struct.pack(">5H", *values)])
    colour = png(tmp_path / "rgb.png", 5, 1, 16, 2, [struct.pack(">15H", *[v for v in values for _ in range(3)])])
    for path in (grey, colour):
        np.testing.assert_array_equal(read(path)[0, :, 1], [0, 0, 100, 156, 255])
    row, clear = struct.pack(">2H", 40000, 40001), (b"tRNS", struct.pack(">H", 40000))
    np.testing.assert_array_equal(read(png(tmp_path / "clear.png", 2, 1, 16, 0, [row], clear))[0, :, 1], [0, 156])


def test_cmyk_becomes_rgb(tmp_path):
    inks = np.zeros([8, 8, 4], np.uint8)
    inks[..., 1] = 255
    found = read(write(tmp_path, "x.jpg", inks, "CMYK", quality=100)).astype(int)
    assert np.abs(found - [255, 0, 255]).max() <= 3


def test_a_photograph_is_upright_before_its_size_is_looked_at(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top row of the file is the right column of the picture
    path = write(tmp_path, "train/a/x.png", COLOURS, exif=exif)
    np.testing.assert_array_equal(read(path), np.rot90(COLOURS, -1))
    write(tmp_path, "train/a/upright.png", np.rot90(COLOURS, -1).copy())
    assert pictures.load(tmp_path).train_images.shape == (2, 8, 6, 3)


def test_pictures_of_several_sizes_need_image_size(tmp_path):
    write(tmp_path, "train/a/x.png")
    write(tmp_path, "train/b/x.png", np.full((9, 30, 3), 77, np.uint8))
    with pytest.raises(DataError, match=r"b/x.png: is 30 x 9, but .*a/x.png is 8 x 6; --image_size=N gives all one"):
        pictures.load(tmp_path)
    images = pictures.load(tmp_path, image_size=5).train_images
    assert images.shape == (2, 5, 5, 3)
    np.testing.assert_array_equal(images[1], 77)


def test_image_size_cuts_at_the_centre(tmp_path):
    pixels = np.zeros([8, 24, 3], np.uint8)
    pixels[:, 4:20] = 200
    np.testing.assert_array_equal(read(write(tmp_path, "x.png", pixels), 4), 200)


def refused(folder, message):
    with pytest.raises(DataError, match=message) as raised:
        pictures.load(folder)
    assert "\n" not in str(raised.value)


def test_damaged_pictures_are_named(tmp_path):
    small(tmp_path)
    path = write(tmp_path, "train/cat/x.jpg", COLOURS)
    whole = path.read_bytes()
    for contents in (b"", b"<html>", whole[: len(whole) // 2], b"GIF89a" + bytes(50)):
        path.write_bytes(contents)
        refused(tmp_path, "train/cat/x.jpg: is damaged or no PNG or JPEG")
    path.unlink()
    path = tmp_path / "test" / "bird" / "0.png"
    whole = bytearray(path.read_bytes())
    whole[45] ^= 255
    path.write_bytes(whole)
    refused(tmp_path, "test/bird/0.png: is damaged")


def test_classes_that_do_not_fit_are_named(tmp_path):
    refused(tmp_path, "there is no train/ in it, expected train/CLASS/... and test/CLASS/...$")
    (tmp_path / "train").mkdir()
    refused(tmp_path, "train/ has no folders in it")
    refused(tmp_path / "train", f"there is no train/ in it, .*; give {tmp_path}, which holds train/$")
    small(tmp_path)
    (tmp_path / "train" / "empty").mkdir()
    refused(tmp_path, "train/empty: has no PNG or JPEG")
    write(tmp_path, "train/empty/x.png", np.zeros([4, 4, 3], np.uint8))
    write(tmp_path, "test/unknown/x.png")
    refused(tmp_path, "test/unknown: train/ has no such class, expected one of bird, cat, empty")
    write(tmp_path, "val/strange/x.png")
    refused(tmp_path, "val/strange: train/ has no such class, expected one of bird, cat, empty")
    for name in ("a\nb", b"\xff".decode(errors="surrogateescape")):
        (tmp_path / "train" / name).mkdir()
        refused(tmp_path, "train: the class .* cannot be printed, and logs name it; rename its folder")
        (tmp_path / "train" / name).rmdir()


def test_without_pillow_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    small(tmp_path)
    ordinary = builtins.__import__

    def without(name, *arguments):
        if name == "PIL":
            raise ImportError(name)
        return ordinary(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(tmp_path, r"Pillow, which is not installed: pip install 'orthogonal-training\[images\]'")
