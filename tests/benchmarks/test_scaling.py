"""Fits of exact data give what the data were made of."""

import pytest

from benchmarks import scaling


def test_exponent_of_an_exact_power():
    assert scaling.exponent([(size, 3e-5 * size**2.7) for size in (144, 288, 576, 1152)]) == pytest.approx(2.7)


def test_small_sizes_do_not_count():
    points = [(size, 1.0) for size in (8, 16, 32)] + [(size, size**3.0) for size in (64, 128, 256)]
    assert scaling.exponent(points) == pytest.approx(3.0)


def test_one_size_has_no_exponent():
    assert scaling.exponent([(64, 1.0)]) is None
    assert scaling.line([(64, 1.0), (64, 2.0)]) is None


def test_line_of_exact_data():
    assert scaling.line([(batch, 20.0 + 1.5 * batch) for batch in (16, 32, 128)]) == pytest.approx((20.0, 1.5))


def test_tables_show_the_fits():
    def row(kind, x, ms):
        times = {"ms": ms, "ms_low": ms, "ms_high": ms, "turns": 5}
        return {"kind": kind, "competitor": "cayley", "x": x, "device": "cpu", **times}

    rows = [row("map", size, size**2.0) for size in (10, 20, 40)] + [row("step", b, 5.0 + b) for b in (10, 20)]
    lines = scaling.tables(rows).splitlines()
    assert "| map, forward + backward, ms | n = 10 | n = 20 | n = 40 | exponent |" in lines
    assert "| cayley | 100 (100..100) | 400 (400..400) | 1,600 (1,600..1,600) | 2.00 |" in lines
    assert "| cayley | 15.0 (15.0..15.0) | 25.0 (25.0..25.0) | 5.0 | 1.000 |" in lines
