"""Programs of several cores from the command line, and `--check-races`."""

import json

import pytest

HEAD = """    .tensor x f32 4 4
    .tensor y f32 4 4
    li x1, x
    li x2, y
    li x3, 16
    li x4, 4
    li x5, 1
"""
STORE = "    fill.f32 t0, x5, x4, x4\n    store.f32 t0, (x1), x3\n"
LOAD = "    load.f32 t0, (x1), x3, x4, x4\n    store.f32 t0, (x2), x3\n"


@pytest.fixture
def program(tmp_path):
    """Writes a file with a program behind the common beginning."""

    def write(name, body, head=HEAD):
        path = tmp_path / f"{name}.s"
        path.write_text(f"{head}{body}    halt\n")
        return str(path)

    return write


def test_each_core_runs_its_file(tickformer, program):
    files = [program("a", STORE + "    signal 3\n"), program("b", "    wait 3, x5\n" + LOAD)]
    for order in (files, files[::-1]):
        outcome = tickformer("run-asm", *order, "--json", "-")
        assert outcome.code == 0
        report = json.loads(outcome.out)
        assert report["machine"]["cores"] == 2
        assert sum(report["causes"].values()) == pytest.approx(report["cycles"], abs=0.01)
        assert min(report["causes"].values()) >= 0
        assert "races" not in report


def test_all_files_declare_one_memory(tickformer, program):
    other = program("b", LOAD, HEAD.replace("y f32 4 4", "y f32 4 8"))
    outcome = tickformer("run-asm", program("a", STORE), other)
    assert outcome.code == 1
    assert "declares another memory than" in outcome.err


def test_a_clean_program(tickformer, program):
    first = program("a", STORE + "    signal 3\n")
    outcome = tickformer("run-asm", first, program("b", "    wait 3, x5\n" + LOAD), "--check-races")
    assert outcome.code == 0
    assert "no data races" in outcome.out
    assert "reference engine" in outcome.err


def test_a_race_is_reported_and_exits_with_1(tickformer, program):
    files = [program("a", STORE), program("b", "    .region 1 copy\n" + LOAD)]
    outcome = tickformer("run-asm", *files, "--check-races", "--engine", "reference")
    assert outcome.code == 1
    assert outcome.err == ""
    assert "1 data race:" in outcome.out
    assert "tensor x, byte 0x0\n" in outcome.out
    assert "core 0 stores at pc 6: store.f32 t0, (x1), x3\n" in outcome.out
    load = "core 1 loads at pc 6: load.f32 t0, (x1), x3, x4, x4, in operator 1 copy\n"
    assert load in outcome.out
    as_json = tickformer("run-asm", *files, "--check-races", "--json", "-")
    assert as_json.code == 1
    [race] = json.loads(as_json.out)["races"]
    assert race["place"] == "tensor x, byte 0x0"


def test_at_most_ten_are_shown(tickformer, program):
    stores = "    store.f32 t0, (x1), x3\n    addi x1, x1, 4\n" * 12
    files = [program(name, "    fill.f32 t0, x5, x5, x5\n" + stores) for name in "ab"]
    outcome = tickformer("run-asm", *files, "--check-races")
    count = int(outcome.out[: outcome.out.index(" data races:")].split()[-1])
    assert count >= 12
    assert f"and {count - 10} more" in outcome.out
    assert outcome.out.count("tensor x, byte") == 10


def test_a_model_for_two_cores_is_clean(tickformer):
    model = ["run", "toy-llama", "--machine", "teach", "--ids", "1,2", "--tokens", "1"]
    outcome = tickformer(*model, "--cores", "2", "--check-races")
    assert outcome.code == 0
    assert "no data races" in outcome.out
