"""DRAM: channels, banks with one open row, burst slots on the data bus, refresh, write batches.

Times are femtoseconds.  Rules D1-D7 of docs/timing.md.  ``number`` is that of a line in its node.
"""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    B_COLUMN_FREE,
    B_PRECHARGE_FREE,
    B_REFRESH,
    B_ROW,
    B_SIZE,
    BUS_MASK,
    D_BANK_SHIFT,
    D_BANKS,
    D_BURST,
    D_CHANNEL_SHIFT,
    D_CHANNEL_STRIDE,
    D_CHANNELS,
    D_CL,
    D_CONTROLLER,
    D_LINES_PER_ROW,
    D_PERIOD,
    D_RAS,
    D_RCD,
    D_REFI,
    D_RFC,
    D_ROW_SHIFT,
    D_RP,
    D_RTP,
    D_RTW,
    D_WR,
    D_WRITE_BATCH,
    D_WTR,
    H_DRAM,
    H_DRAM_STATE,
    K_BANKS,
    K_BATCHES,
    K_BUS,
    K_QUEUED,
    K_READ_END,
    K_READS,
    K_ROW_CONFLICTS,
    K_ROW_HITS,
    K_ROW_MISSES,
    K_WRITE_END,
    K_WRITE_QUEUE,
    K_WRITES,
)
from sim.engine.nodes import node_of, number_of


@njit
def refresh_period(S: Flat, d: int, t: int) -> int:
    """Start of the refresh period that ``t`` lies in (times come nearly in order)."""
    start = S[d + D_PERIOD]
    since = t - start
    if since < 0 or since >= S[d + D_REFI]:
        start = t // S[d + D_REFI] * S[d + D_REFI]
        S[d + D_PERIOD] = start
    return start


@njit
def split(value: int, divisor: int, shift: int) -> int:
    """``value // divisor``; by a shift where the divisor is a power of two."""
    return value >> shift if shift >= 0 else value // divisor


@njit
def free_slot(S: Flat, channel: int, ready: int, length: int) -> int:
    """The first free burst slot at or after ``ready``; the ring remembers which are taken."""
    slot = (ready + length - 1) // length
    bus = channel + K_BUS
    while S[bus + (slot & BUS_MASK)] == slot:
        slot += 1
    return slot


@njit
def bank_access(S: Flat, d: int, channel: int, number: int, t: int, write: bool) -> int:
    """Activate, read or write one line from ``t`` on; returns the end of its burst.

    An access lies between two refreshes: one that would not end before the next begins after it.
    """
    rest = split(number, S[d + D_CHANNELS], S[d + D_CHANNEL_SHIFT])
    rest = split(rest, S[d + D_LINES_PER_ROW], S[d + D_ROW_SHIFT])
    banks = S[d + D_BANKS]
    row = split(rest, banks, S[d + D_BANK_SHIFT])
    index = rest + row
    bank = channel + K_BANKS + (index - split(index, banks, S[d + D_BANK_SHIFT]) * banks) * B_SIZE
    length = S[d + D_BURST]
    if write:
        turned = S[channel + K_READ_END] + S[d + D_RTW]
    else:
        turned = S[channel + K_WRITE_END] + S[d + D_WTR]
    period = max(refresh_period(S, d, t), S[bank + B_REFRESH])
    while True:
        begin = max(t, period + S[d + D_RFC])
        if S[bank + B_REFRESH] != period:  # every refresh closes all rows
            S[bank + B_REFRESH] = period
            S[bank + B_ROW] = -1
        opened = S[bank + B_ROW]
        activate = -1
        if opened == row:
            column = max(begin, S[bank + B_COLUMN_FREE])
        else:
            activate = begin
            if opened >= 0:
                activate = max(begin, S[bank + B_PRECHARGE_FREE]) + S[d + D_RP]
            column = activate + S[d + D_RCD]
        slot = free_slot(S, channel, max(column + S[d + D_CL], turned), length)
        start = slot * length
        end = start + length
        if end <= period + S[d + D_REFI]:
            break
        period += S[d + D_REFI]
    S[channel + K_BUS + (slot & BUS_MASK)] = slot
    if activate >= 0:
        S[channel + (K_ROW_MISSES if opened < 0 else K_ROW_CONFLICTS)] += 1
        S[bank + B_ROW] = row
        S[bank + B_PRECHARGE_FREE] = activate + S[d + D_RAS]
    else:
        S[channel + K_ROW_HITS] += 1
    # the column command went out CL before the burst; the next one follows a burst later
    command = start - S[d + D_CL]
    S[bank + B_COLUMN_FREE] = command + length
    recover = end + S[d + D_WR] if write else command + S[d + D_RTP]
    S[bank + B_PRECHARGE_FREE] = max(S[bank + B_PRECHARGE_FREE], recover)
    return end


@njit
def channel_of(S: Flat, d: int, node: int, number: int) -> int:
    """Offset of the state of the channel that holds a line: lines go round those of the node."""
    channels = S[d + D_CHANNELS]
    index = number - split(number, channels, S[d + D_CHANNEL_SHIFT]) * channels
    return S[H_DRAM_STATE] + (node * channels + index) * S[d + D_CHANNEL_STRIDE]


@njit
def dram_read(S: Flat, line: int, t: int) -> int:
    """Read a line; a request arrives at ``t``; returns when its last byte has arrived."""
    d = S[H_DRAM]
    number = number_of(S, line)
    channel = channel_of(S, d, node_of(S, line), number)
    S[channel + K_READS] += 1
    end = bank_access(S, d, channel, number, t + S[d + D_CONTROLLER], False)
    if end > S[channel + K_READ_END]:
        S[channel + K_READ_END] = end
    return end


@njit
def dram_write(S: Flat, line: int, t: int) -> None:
    """Queue a written-back line; a full batch is written at once, so the bus turns around once."""
    d = S[H_DRAM]
    number = number_of(S, line)
    channel = channel_of(S, d, node_of(S, line), number)
    S[channel + K_WRITES] += 1
    queued = S[channel + K_QUEUED]
    S[channel + K_WRITE_QUEUE + queued] = number
    queued += 1
    if queued < S[d + D_WRITE_BATCH]:
        S[channel + K_QUEUED] = queued
        return
    S[channel + K_QUEUED] = 0
    S[channel + K_BATCHES] += 1
    start = t + S[d + D_CONTROLLER]
    last = 0
    for i in range(queued):
        end = bank_access(S, d, channel, S[channel + K_WRITE_QUEUE + i], start, True)
        last = max(last, end)
    S[channel + K_WRITE_END] = max(S[channel + K_WRITE_END], last)
