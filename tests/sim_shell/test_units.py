"""Quantities with units: what is read, and what the errors tell the user to write."""

import pytest

from sim.machine.units import (
    format_clock,
    format_size,
    parse_clock,
    parse_rate,
    parse_size,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("48KiB", 49152),
        ("2 MiB", 2 << 20),
        ("1GiB", 1 << 30),
        ("64B", 64),
        (64, 64),
        ("1.5KiB", 1536),
    ],
)
def test_sizes_are_bytes(text, nbytes):
    assert parse_size(text) == nbytes


@pytest.mark.parametrize(
    ("text", "megahertz"),
    [("3.0GHz", 3000), ("2.4GHz", 2400), ("800MHz", 800), ("0.001GHz", 1), ("2100000kHz", 2100)],
)
def test_clocks_are_whole_megahertz(text, megahertz):
    assert parse_clock(text) == megahertz


def test_times_are_nanoseconds_and_rates_gigabytes_per_second():
    assert parse_time("16ns") == 16
    assert parse_time(16.67) == 16.67
    assert parse_time("3.9us") == 3900
    assert parse_rate("38.4GB/s") == 38.4
    assert parse_rate("800MB/s") == 0.8


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (parse_size, "48KB", "use B, KiB, MiB, GiB"),
        (parse_size, "48kib", "did you mean KiB?"),
        (parse_size, "0.3B", "whole number of bytes"),
        (parse_size, "-4KiB", "write it like"),
        (parse_size, True, "write it like"),
        (parse_clock, 3, "has no unit"),
        (parse_clock, "3ghz", "did you mean GHz?"),
        (parse_clock, "0GHz", "faster than 0"),
        (parse_clock, "1.0005GHz", "whole number of MHz"),
        (parse_time, "fast", "write it like"),
        (parse_rate, "38.4Gb/s", "did you mean GB/s?"),
    ],
)
def test_a_bad_quantity_says_what_would_be_right(parse, text, hint):
    with pytest.raises(ValueError, match=hint.replace("?", r"\?")):
        parse(text)


def test_formatted_quantities_read_back():
    for nbytes in (64, 1536, 49152, 2 << 20, 105 << 20, 1 << 30):
        assert parse_size(format_size(nbytes)) == nbytes
    for megahertz in (1, 800, 2100, 2401, 3000):
        assert parse_clock(format_clock(megahertz)) == megahertz
