"""`run-asm`: values in and out, comparison, account, and what a program may not do."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture
def product(tmp_path):
    """Files for a, b and their product, with random values."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 4, 4)).astype(np.float32)
    for name, values in {"a": a, "b": b, "c": a @ b.T}.items():
        np.save(tmp_path / f"{name}.npy", values)
    return tmp_path


def test_declared_contents_give_values_and_an_account(tickformer, matmul_source):
    outcome = tickformer("run-asm", matmul_source)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "6 6 6 6" in outcome.out  # row 0 of iota (0 1 2 3) times ones
    assert "multiply" in outcome.out
    assert "11 instructions" in outcome.out
    assert "128 flop" in outcome.out  # 2 * 4 * 4 * 4


def test_files_fill_tensors_and_are_compared(tickformer, matmul_source, product):
    out = product / "out.npy"
    outcome = tickformer(
        "run-asm", matmul_source,
        "--tensor", f"a={product}/a.npy", "--tensor", f"b={product}/b.npy",
        "--expect", f"c={product}/c.npy", "--out", f"c={out}", "--json", "-",
    )  # fmt: skip
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["differences"]["c"] < 1e-6
    assert report["machine"]["name"] == "teach"
    assert report["cycles"] > 0
    assert sum(report["causes"].values()) == pytest.approx(report["cycles"])
    assert [kind["kind"] for kind in report["kinds"]] == ["load", "multiply"]
    np.testing.assert_allclose(np.load(out), np.load(product / "c.npy"), atol=1e-6)


def test_a_wrong_result_says_where_and_exits_with_2(tickformer, matmul_source, product):
    wanted = np.full((4, 4), 6, dtype=np.float32)
    wanted[0, 2] = 7
    np.save(product / "wrong.npy", wanted)
    outcome = tickformer("run-asm", matmul_source, "--expect", f"c={product}/wrong.npy")
    assert outcome.code == 2
    assert "13 of 16 elements differ" in outcome.err
    assert "is at [3, 0]: computed 54, expected 6" in outcome.err
    loose = tickformer(
        "run-asm", matmul_source, "--expect", f"c={product}/wrong.npy", "--tolerance", "48"
    )
    assert loose.code == 0


def test_bf16_tensors_round_to_nearest_even(tickformer, tmp_path):
    source = tmp_path / "copy.s"
    source.write_text(
        ".tensor a bf16 1 4\n.tensor b bf16 1 4\nli x1, a\nli x2, b\nli x3, 1\nli x4, 4\n"
        "load.bf16 t0, (x1), x4, x3, x4\nstore.bf16 t0, (x2), x4\nhalt\n",
        encoding="utf-8",
    )
    values = np.array([[1.0, 1.00390625, 1.01171875, -3.14159]], dtype=np.float32)
    np.save(tmp_path / "a.npy", values)
    out = tmp_path / "b.npy"
    outcome = tickformer("run-asm", source, "--tensor", f"a={tmp_path}/a.npy", "--out", f"b={out}")
    assert outcome.code == 0
    # 1 + 2^-8 and 1 + 3 * 2^-8 lie half-way between neighbours of seven fraction bits
    np.testing.assert_array_equal(np.load(out), [[1.0, 1.0, 1.015625, -3.140625]])


def test_the_log_shows_cycles_of_instructions(tickformer, matmul_source):
    outcome = tickformer("run-asm", matmul_source, "--log", "3")
    assert "Instructions, by cycle" in outcome.out
    assert "li x3" in outcome.out
    lines = outcome.out.split("Tensors")[1].split("Where")[0]
    assert "load.f32" not in lines


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--tensor", "a", "write it as NAME=FILE.npy"),
        ("--tensor", "aa=x.npy", "no tensor 'aa'. Did you mean 'a'?"),
        ("--tensor", "a=none.npy", "cannot read none.npy"),
        ("--expect", "c=none.npy", "cannot read none.npy"),
        ("--out", "c=/no/such/folder/c.npy", "there is no folder"),
        ("--json", "/no/such/folder/out.json", "there is no folder"),
        ("--entry", "mian", "Did you mean 'main'?"),
        ("--machine", "teech", "Did you mean 'teach'?"),
    ],
)
def test_wrong_options_are_user_errors(tickformer, matmul_source, option, value, expected):
    outcome = tickformer("run-asm", matmul_source, option, value)
    assert outcome.code == 1
    assert expected in outcome.err
    assert outcome.out == ""


def test_a_file_of_another_shape_or_kind_is_refused(tickformer, matmul_source, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((4, 5), dtype=np.float32))
    outcome = tickformer("run-asm", matmul_source, "--tensor", f"a={tmp_path}/wide.npy")
    assert outcome.code == 1
    assert "the file holds 4 x 5, but the program declares a as 4 x 4" in outcome.err
    (tmp_path / "text.npy").write_text("no numbers", encoding="utf-8")
    outcome = tickformer("run-asm", matmul_source, "--tensor", f"a={tmp_path}/text.npy")
    assert outcome.code == 1
    assert "no .npy file of numbers" in outcome.err


def write(tmp_path, text):
    file = tmp_path / "fault.s"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_access_outside_any_tensor_names_all_there_is_to_know(tickformer, tmp_path):
    file = write(
        tmp_path,
        ".tensor a f32 4 4\nmain:\nli x1, a + 64\nli x2, 16\nli x3, 4\n"
        "load.f32 t0, (x1), x2, x3, x3\nhalt\n",
    )
    outcome = tickformer("run-asm", file)
    assert outcome.code == 2
    for part in ("pc 3", "load.f32 t0, (x1), x2, x3, x3", "0x10040", "'a'", "line 6"):
        assert part in outcome.err
    assert outcome.out == ""


def test_a_runaway_loop_ends_at_the_limit(tickformer, tmp_path):
    outcome = tickformer("run-asm", write(tmp_path, "main:\nj main\n"), "--limit", "1000")
    assert outcome.code == 2
    assert "limit of 1000 instructions" in outcome.err


def test_a_jump_outside_the_program_is_a_fault(tickformer, tmp_path):
    outcome = tickformer("run-asm", write(tmp_path, "main:\nli x1, 99\njr x1\nhalt\n"))
    assert outcome.code == 2
    assert "outside the program" in outcome.err


def test_a_program_for_more_tiles_than_the_machine_has_is_refused(tickformer, tmp_path):
    outcome = tickformer("run-asm", write(tmp_path, "main:\nmov t9, t8\nhalt\n"))
    assert outcome.code == 1
    assert "t0 to t7" in outcome.err


# Shows progress from the beginning.
AT_ONCE = """
import sim.cli.console
sim.cli.console.QUIET_SECONDS = 0
from sim.cli.main import main
main()
"""


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_ctrl_c_prints_the_partial_account(tmp_path, engine):
    """An endless loop in a process of its own, interrupted once it says that it simulates."""
    file = write(tmp_path, ".tensor a f32 4 4\nmain:\nj main\n")
    np.save(tmp_path / "a.npy", np.ones((4, 4), dtype=np.float32))
    report = tmp_path / "report.json"
    process = subprocess.Popen(
        [
            sys.executable, "-c", AT_ONCE,
            "run-asm", str(file), "--limit", str(10**15), "--json", str(report),
            "--expect", f"a={tmp_path}/a.npy", "--engine", engine,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "simulating: cycle" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "(partial: interrupted)" in out
    assert "partial" in err
    values = json.loads(report.read_text(encoding="utf-8"))
    assert values["partial"] is True
    assert values["cycles"] > 0
