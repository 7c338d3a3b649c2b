"""Machine files and overrides with values of the wrong kind."""

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a." * 3000 + "b = 1", "nested too deeply"),
        ("[core]\nrob = true", "core.rob: must be a quantity or text, not True"),
        ('[[core.ops]]\nclass = ["a"]', "class: must be text"),
        ('[core]\nops = [5, "x"]', "must be a table of op keys, not 5"),
        ("[core]\nops = 5", "core.ops"),
        ("[core]\nrob = nan", "core.rob"),
        ("[l1]\nsize = inf", "l1.size: inf is no quantity"),
        ("[core]\nrob = 1\n[core]\nrob = 2", "is no valid TOML: Cannot declare"),
    ],
)
def test_files(refused, tmp_path, text, expected):
    file = tmp_path / "bad.toml"
    file.write_text(f'base = "teach"\n{text}\n', encoding="utf-8")
    assert expected in refused("machines", "show", file)


@pytest.mark.parametrize("ops", ["5", '[5, "x"]'])
def test_overrides_of_files_without_operation_rows(refused, tmp_path, ops):
    file = tmp_path / "bad.toml"
    file.write_text(f"[core]\nops = {ops}\n", encoding="utf-8")
    message = refused("machines", "show", file, "--set", "core.ops.scalar.latency=1")
    assert "core.ops is no list of tables" in message


def test_an_override_is_one_value(refused):
    message = refused("machines", "show", "teach", "--set", "core.rob=64\ncore.width=2")
    assert "core.rob: must be a whole number" in message


def test_core_clocks_are_a_list(refused):
    message = refused("machines", "show", "teach", "--set", "core_clocks=1GHz")
    assert """core_clocks: must be a list, as ["1GHz"], not '1GHz'""" in message


@pytest.mark.parametrize(
    ("machine", "sets", "expected"),
    [
        ("rk3588", ["core_type=a55"], """core_type: must be a list, as ["a55"], not 'a55'"""),
        ("rk3588", ['core_type=["core", "a5"]'], "unknown type 'a5'. Did you mean 'a55'?"),
        ("rk3588", ["cores=12"], "core_type: 8 types for cores = 12; give every core one of"),
        ("rk3588", ["cores=2", 'core_type=["a55"]'], "core_type: 1 types for cores = 2"),
        ("rk3588", ["core_types.a5.width=1"], "core_types.a5.width changes nothing, since no core"),
        ("teach", ["core_types.little.width=1"], "changes nothing, since no core is of that type"),
        ("rk3588", ["core_types.a55.tiles.count=4"], "its tiles are not those of [core]"),
        ("rk3588", ["core_types.a55.l2.line=32"], "its cache lines are not those of [core]"),
        ("rk3588", ["core_types.a55.ops=none"], "core_types.a55.ops: must be a list"),
        ("rk3588", ["core_types.a55.ops.mull.latency=1"], "Write core_types.a55.ops.CLASS.FIELD"),
        ("rk3588", ["core_types.a55.l2=none"], "core_types.a55.l2: needed between the core and l3"),
        ("rk3588", ["core_types=little"], "core_types is a table; set one of core_types.a55"),
    ],
)
def test_types_of_cores(refused, machine, sets, expected):
    message = refused(
        "machines", "show", machine, *(part for text in sets for part in ("--set", text))
    )
    assert expected in message
