"""The reference engine's caches line by line: states, the invariant, and what breaks it."""

from __future__ import annotations

import pytest

from isa.assembler import assemble
from isa.errors import InternalError
from sim.machine import load_machine
from sim.reference import ReferenceCpu
from sim.reference.directory import Directory
from sim.reference.shared import PrivateCaches

HEAD = """.tensor x f32 256 16
main:
 li x1, x
 li x2, 1
 li x3, 2
 fill.f32 t0, x0, x2, x2
"""
LINE = 0x10000 // 64  # the first of the tensor
STORE = "store.f32 t0, (x1), x0\nsignal 0"
LOAD = "load.f32 t1, (x1), x0, x2, x2\nsignal 0"


def cpu(*bodies: str, machine: str = "teach", overrides: list[str] | None = None) -> ReferenceCpu:
    """A run of one program per core, checked after every access."""
    programs = [assemble(HEAD + body + "\nhalt\n") for body in bodies]
    described = load_machine(machine, [f"cores={len(bodies)}", *(overrides or [])])
    made = ReferenceCpu(
        described, [each.program for each in programs], programs[0].memory, check_coherence=True
    )
    made.start()
    made.run()
    return made


def states(made: ReferenceCpu) -> list[str]:
    """How each core holds the line."""
    return [core.states.get(LINE, "-") for core in made.observe(states=True)]


def counts(made: ReferenceCpu) -> dict[str, int]:
    """Coherence counters that are not zero."""
    return {name: count for name, count in made.coherence_counters().items() if count}


def after(count: int, body: str) -> str:
    """A body behind so many signals."""
    return f"li x5, {count}\nwait 0, x5\n{body}"


def test_the_first_reader_may_write_and_a_second_takes_that_away():
    assert states(cpu(LOAD, "")) == ["E", "-"]
    both = cpu(LOAD, after(1, LOAD))
    assert states(both) == ["S", "S"]
    assert counts(both) == {"reads": 2, "forwards": 1, "downgrades": 1}


def test_a_written_line_goes_to_its_reader_and_to_memory():
    made = cpu(STORE, after(1, LOAD))
    assert states(made) == ["S", "S"]
    assert counts(made) == {"reads": 1, "exclusive_reads": 1, "forwards": 1, "downgrades": 1}
    assert made.dram_counters()["writes"] == 1


def test_a_written_line_goes_from_writer_to_writer():
    made = cpu(STORE, after(1, STORE))
    assert states(made) == ["-", "M"]
    assert counts(made) == {"exclusive_reads": 2, "forwards": 1, "invalidations": 1}
    assert made.dram_counters()["writes"] == 0


def test_a_clean_line_of_its_own_is_written_in_silence():
    made = cpu(f"{LOAD}\n{STORE}", "")
    assert states(made) == ["M", "-"]
    assert counts(made) == {"reads": 1}


def test_a_shared_line_is_upgraded():
    made = cpu(LOAD, after(1, LOAD), after(2, f"{LOAD}\n{STORE}"))
    assert states(made) == ["-", "-", "M"]
    assert counts(made) == {
        "reads": 3, "upgrades": 1, "forwards": 1, "downgrades": 1, "invalidations": 2,
    }  # fmt: skip


def test_a_line_that_has_left_is_not_found():
    """Two further lines of its set push it out of the owner's caches, clean and in silence."""
    small = ["l1.ways=1", "l1.size=64", "l2=none"]
    made = cpu(f"{LOAD}\naddi x1, x1, 64\n{LOAD}", after(2, LOAD), overrides=small)
    assert counts(made) == {"reads": 3, "stale": 1}
    assert states(made) == ["-", "E"]


def test_a_line_that_leaves_an_inclusive_l3_leaves_all():
    """L1 and L2 have room for all six lines, L3 for two."""
    overrides = ["l3.ways=2", "l3.size=128", "l3.inclusive=true"]
    walk = "\n".join([f"{STORE}\naddi x1, x1, 64"] * 6)
    for cores in (1, 2):
        bodies = [walk, *[""] * (cores - 1)]
        made = cpu(*bodies, machine="cortex-a76", overrides=[*overrides, "l1.prefetch=none"])
        assert counts(made)["back_invalidations"] == 2 * 4
        assert made.cache_counters()["L3"]["writebacks"] == 4
        assert len(made.observe(states=True)[0].states) == 2


def test_an_invalidation_that_removes_nothing_is_noticed(monkeypatch):
    monkeypatch.setattr(PrivateCaches, "remove", PrivateCaches.copies)
    with pytest.raises(InternalError, match=r"line 0x400 .* core 0 M, core 1 M"):
        cpu(STORE, after(1, STORE))


def test_a_sharer_that_may_still_write_is_noticed(monkeypatch):
    monkeypatch.setattr(PrivateCaches, "share", lambda private, line: False)
    with pytest.raises(InternalError, match=r"line 0x400 .* core 0 E, core 1 S"):
        cpu(LOAD, after(1, LOAD))


def test_a_line_kept_beyond_an_inclusive_l3_is_noticed(monkeypatch):
    monkeypatch.setattr(Directory, "back_invalidate", lambda directory, line, time: False)
    overrides = ["l3.ways=2", "l3.size=128", "l3.inclusive=true", "l1.prefetch=none"]
    made = cpu("\n".join([f"{LOAD}\naddi x1, x1, 64"] * 6), "", machine="cortex-a76",
               overrides=overrides)  # fmt: skip
    with pytest.raises(InternalError, match="line 0x400 is not in the inclusive L3: core 0 E"):
        made.check_coherence()
