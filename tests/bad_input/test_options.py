"""Numbers and texts that no option can mean; nothing is allocated before they are checked."""

import pytest

HUGE = 10**23


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--prefill", HUGE], "the prompt is longer than the context"),
        (["--batch", 10**6], "use a smaller batch"),
        (["--batch", HUGE, "--values", "off"], "use a smaller batch"),
        (["--ids", ""], "write token numbers with commas"),
        (["--json", ""], "it is a folder"),
        (["--clock", "101GHz"], "a clock must be at most 100GHz"),
        (["--clock", "2GHz", "--set", "clock=3GHz"], "clock is given twice; keep one"),
        (["--cores", "2", "--set", "cores=3"], "cores is given twice; keep one"),
    ],
)
def test_run(refused, options, expected):
    assert expected in refused("run", "toy-llama", "--machine", "teach", *options)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (f"core.rob={HUGE}", "core.rob: must be at most 65536"),
        (f"core.return_stack={HUGE}", "core.return_stack: must be at most 65536"),
        (f"core.units.load.queue={HUGE}", "core.units.load.queue: must be at most 65536"),
        (f"core.mispredict_penalty={HUGE}", "must be at most 1000000"),
        (f"core.ops.matmul.bf16.latency={HUGE}", "must be at most 1000000"),
        ("l2.size=1024GiB", "l2.size: must be at most"),
        ("l1.hit_cycles=9999999", "l1.hit_cycles: must be at most 1000000"),
        (f"l2.bytes_per_cycle={HUGE}", "l2.bytes_per_cycle: must be at most"),
        ("dram.gigabytes_per_second=1000000TB/s", "must be at most 100000"),
        ("dram.tras_ns=1000ms", "dram.tras_ns: must be at most"),
    ],
)
def test_machines_out_of_this_world(refused, override, expected):
    assert expected in refused("machines", "show", "sapphire-rapids", "--set", override)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", HUGE], "'--limit'"),
        (["--log", HUGE], "'--log'"),
        (["--tolerance", "nan"], "--tolerance nan: it must be 0 or above"),
        (["--tolerance", "-1"], "it must be 0 or above"),
        (["--out", "a=same.npy", "--out", "c=same.npy"], "give each its own file"),
        (["--tensor", "a=x.npy", "--tensor", "a=y.npy"], "a was given twice"),
    ],
)
def test_run_asm(refused, kernel, options, expected):
    assert expected in refused("run-asm", kernel, *options)
