"""The presets: they load, every number has a source, and their figures meet the measured ones."""

import re
from importlib import resources

import pytest

from sim.machine import Machine, load_machine, presets
from sim.machine.figures import figures


def preset_text(name):
    return (resources.files("sim.machine") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def test_the_presets_that_are_promised_exist():
    assert presets() == ("avx512", "cortex-a76", "rk3588", "sapphire-rapids", "teach")


@pytest.mark.parametrize("name", presets())
def test_a_preset_survives_being_resolved_and_read_again(name):
    machine = load_machine(name)
    assert machine.name == name
    assert Machine.model_validate(machine.resolved()) == machine


@pytest.mark.parametrize("name", ["sapphire-rapids", "cortex-a76", "rk3588"])
def test_every_number_of_a_product_has_a_source_beside_it(name):
    """A comment on the line, or one right above the table, or the row's ``source`` key."""
    unsourced = {"line", "fill_cycles", "count", "rows", "row_bytes", "queue", "bytes", "width"}
    for block in re.split(r"\n\n", preset_text(name)):
        if re.search(r"^\[\[core.*ops\]\]", block, re.MULTILINE):
            source = re.search(r'^source = "(.{10,})"$', block, re.MULTILINE)
            assert source, f"no source in {block}"
            continue
        for line in block.splitlines():
            match = re.match(r'(\w+) = "?[\d.]', line)
            if match and match[1] not in unsourced:
                assert "#" in line or re.search(rf"{match[1]} = .*#", block), line


def test_the_teaching_machine_has_one_nanosecond_cycles():
    result = figures(load_machine("teach"))
    assert result.load_to_use_ns == {"l1": 2, "l2": 10, "dram": 60}
    assert result.flops_per_cycle["f32"] == 8  # four lanes of multiply and add


def test_sapphire_rapids_meets_its_published_figures():
    machine = load_machine("sapphire-rapids")
    result = figures(machine)
    cycles = {level: ns * machine.clock / 1000 for level, ns in result.load_to_use_ns.items()}
    assert cycles["l1"] == 5
    assert cycles["l2"] == 15
    assert 64 <= cycles["l3"] <= 78
    assert 95 <= result.load_to_use_ns["dram"] <= 97
    assert result.flops_per_cycle["bf16"] == 1024  # 16 x 16 x 32 multiply-adds in 16 cycles
    assert result.flops_per_cycle["f32"] == 64  # two FMAs of 16 lanes
    assert result.dram_gigabytes_per_second == pytest.approx(307.2)


def test_cortex_a76_meets_its_published_figures():
    result = figures(load_machine("cortex-a76"))
    assert result.load_to_use_ns["l2"] == pytest.approx(5.0, abs=0.15)
    assert result.load_to_use_ns["l3"] == pytest.approx(17, abs=0.2)
    assert result.load_to_use_ns["dram"] == pytest.approx(117, abs=0.5)
    assert result.flops_per_cycle["f32"] == 16  # two FMLAs of four lanes
    assert result.dram_gigabytes_per_second == pytest.approx(17, abs=0.1)


def test_rk3588_has_cores_of_two_types():
    machine = load_machine("rk3588")
    assert [machine.type_of(core) for core in range(8)] == ["core"] * 4 + ["a55"] * 4
    assert machine.kind_of(0).core == load_machine("cortex-a76").core
    assert figures(machine.of_type("a55")).flops_per_cycle["f32"] == 8  # one FMLA of four lanes
    slow = 1.8 / 2.4 / 2
    assert machine.target().core_speeds == pytest.approx([1, 1, 1, 1, slow, slow, slow, slow])
    assert load_machine("rk3588", ["cores=4"]).target().core_speeds == ()


def test_avx512_is_sapphire_rapids_without_its_tile_unit():
    with_tiles, without = load_machine("sapphire-rapids"), load_machine("avx512")
    assert "matrix" not in without.core.units
    assert without.core.op("matmul", "bf16").unit == "vector"
    assert without.target().tiles * without.target().rows * 64 == 2048  # the 32 zmm registers
    same = ("width", "rob", "load_queue", "store_queue", "mispredict_penalty", "forward_cycles")
    for field in same:
        assert getattr(without.core, field) == getattr(with_tiles.core, field)
    assert (without.l1, without.l2, without.l3) == (with_tiles.l1, with_tiles.l2, with_tiles.l3)
    assert without.dram == with_tiles.dram
