"""DRAM against what Ramulator 2 measures on the same standards, and against their own figures.

A latency is counted from the arrival of the request to the end of the burst, with no controller
before it but where a test says so, and with refresh switched off: on an idle machine it is a rare
chance, and the measurement excludes it.
"""

from __future__ import annotations

from statistics import mean

import pytest

from tests.components import dram
from tests.components.dram import CYCLES_PER_NS, STANDARDS

READING = 1.001 / CYCLES_PER_NS  # a latency is rounded up to a cycle, here a tenth of a ns
every_standard = pytest.mark.parametrize("name", STANDARDS)


@every_standard
def test_a_closed_row_takes_activate_read_and_burst(name):
    """tRCD + tCL + burst, and up to a burst of waiting for the next slot of the bus (D4)."""
    standard, found = STANDARDS[name], dram.closed(name)
    least = standard.closed_ns + standard.burst_ns
    assert all(least <= latency <= least + standard.burst_ns + READING for latency in found)


@every_standard
def test_a_conflict_takes_the_precharge_too(name):
    """(nRP + nRCD + nCL) x tCK + burst, and up to a burst of waiting for the next slot."""
    standard, found = STANDARDS[name], dram.conflict(name)
    least = standard.conflict_ns + standard.burst_ns
    assert all(least <= latency <= least + standard.burst_ns + READING for latency in found)
    # the requests do fall anywhere between two slots
    assert max(found) - min(found) > standard.burst_ns / 2


@every_standard
def test_the_controller_s_time_comes_on_top(name):
    """Equal but for where the request falls between two slots: less than a burst."""
    standard = STANDARDS[name]
    with_it, without = dram.closed(name, controller_ns=25), dram.closed(name)
    for one, other in zip(with_it, without, strict=True):
        assert abs(one - other - 25) < standard.burst_ns + READING


@every_standard
def test_the_idle_latency_is_near_the_measured_one(name):
    """Within one burst: the sum of row commands is the same on both sides, but Ramulator 2 spends
    single clocks on commands that we do not have (LPDDR5's two-part activation), and whether its
    figure ends with the first or the last data is not said. Our mean may lie half a burst higher
    still: that is the wait for a slot of the bus, which it does not have."""
    standard, found = STANDARDS[name], dram.conflict(name)
    assert min(found) == pytest.approx(standard.idle_ns, abs=standard.burst_ns)
    assert mean(found) == pytest.approx(standard.idle_ns, abs=1.5 * standard.burst_ns)
    assert mean(found) - min(found) == pytest.approx(
        standard.burst_ns / 2, abs=standard.burst_ns / 4
    )


@every_standard
def test_a_stream_of_reads_fills_the_bus(name):
    """Within 0.5 % of the pin rate (Ramulator 2: 19.2 of 19.2 GB/s for DDR4-2400R), and never
    above it: what is missing is the first latency and the end of the program."""
    rate = STANDARDS[name].gigabytes_per_second
    assert STANDARDS[name].streamed in (None, rate)
    assert (1 - dram.EDGES) * rate <= dram.streamed(name) <= rate


@every_standard
def test_refresh_costs_a_stream_its_share_of_the_time(name):
    """Between what tRFC of every tREFI leaves and that without the time to open a row again and
    the burst slots cut off at both ends of a period (D5); 0.5 % below for the edges as above."""
    standard = STANDARDS[name]
    rate, period = standard.gigabytes_per_second, standard.trefi_ns
    most = rate * (1 - standard.trfc_ns / period)
    reopening = standard.closed_ns + 2 * standard.burst_ns
    least = rate * (1 - (standard.trfc_ns + reopening) / period)
    assert (1 - dram.EDGES) * least <= dram.streamed(name, refresh=True) <= most
