"""Commands that simulate nothing: listings, assembling, graphs, help, exit codes."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

COMMANDS = ["run", "run-asm", "asm", "disasm", "graph", "fetch", "machines", "workloads"]


def test_help_names_all_commands_and_every_command_has_examples(tickformer):
    overview = tickformer("--help")
    assert overview.code == 0
    for command in COMMANDS:
        assert f"  {command} " in overview.out
        help_text = tickformer(command, "--help")
        assert help_text.code == 0
        assert f"tickformer {command}" in help_text.out
        assert "Example" in help_text.out


def test_a_wrong_command_line_is_a_user_error(tickformer):
    for arguments in (["runn"], ["run"], ["run", "toy-llama", "--tokens", "many"], ["asm"], []):
        outcome = tickformer(*arguments)
        assert outcome.code == 1
        assert outcome.out == ""
        assert outcome.err


def test_the_installed_script_keeps_streams_and_exit_codes_apart():
    script = [sys.executable, "-c", "from sim.cli.main import main; main()"]
    good = subprocess.run([*script, "machines", "--json"], capture_output=True, text=True)
    assert good.returncode == 0
    assert good.stderr == ""
    assert "teach" in [entry["name"] for entry in json.loads(good.stdout)]
    bad = subprocess.run([*script, "machines", "show", "teech"], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert "Did you mean 'teach'?" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_starting_loads_nothing_heavy():
    """A listing must not pay for the engine, the models or the tables' library."""
    code = (
        "import sys; from sim.cli.main import execute; execute(['--version']);"
        "heavy = {'numba', 'networkx', 'gguf', 'tokenizers', 'pydantic', 'simpy', 'rich'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_machines_show_prints_promised_figures_and_takes_overrides(tickformer):
    shown = tickformer("machines", "show", "sapphire-rapids")
    assert shown.code == 0
    assert "1024 flops a cycle" in shown.out
    assert "load-to-use dram         95.84 ns" in shown.out
    array = ("dataflow=os", "array_rows=16", "array_columns=8")
    sets = [f"core.units.matrix.{key}" for key in array] + ["core.ops.matmul.bf16.slot=array"]
    systolic = tickformer(
        "machines", "show", "sapphire-rapids", *(word for key in sets for word in ("--set", key))
    )
    assert "16 x 8 os" in systolic.out
    assert "256 flops a cycle" in systolic.out
    numa = ("numa.nodes=2", "numa.remote_ns=50", "numa.link=48GB/s")
    nodes = tickformer(
        "machines", "show", "sapphire-rapids", *(word for key in numa for word in ("--set", key))
    ).out
    assert "load-to-use dram remote" in nodes
    assert "2, each with such DRAM; a link of 48 GB/s from each to each" in nodes
    assert "remote" not in shown.out
    changed = tickformer("machines", "show", "teach", "--set", "core.rob=99", "--json")
    assert json.loads(changed.out)["core"]["rob"] == 99
    wrong = tickformer("machines", "show", "teach", "--set", "core.robb=99")
    assert wrong.code == 1
    assert "Did you mean 'rob'?" in wrong.err


def test_machines_show_prints_what_the_cores_share(tickformer):
    shown = tickformer("machines", "show", "sapphire-rapids", "--set", "cores=4").out
    rows = {line.split("  ")[0].strip(): line for line in shown.splitlines() if line.strip()}
    assert rows["cores"].split() == ["cores", "4"]
    assert "in turns of 2 ns, loads up to 32 cycles ahead" in rows["several are worked"]
    assert "mesh, 0 cycles of L3's clock a hop" in rows["interconnect"]
    assert "27 cycles" in rows["snoops"]
    assert "16 channels of 19.2 GB/s with 32 banks each" in rows["DRAM"]
    assert "16 slices of 6720KiB, not inclusive" in shown
    alone = tickformer("machines", "show", "teach").out
    assert "slice" not in alone
    assert "cycle by cycle" in alone
    assert "ahead" not in alone
    assert "crossbar, 0 cycles of the machine's clock a hop" in alone
    assert "1 channel of 6.4 GB/s" in alone


@pytest.mark.parametrize("command", ["machines", "workloads"])
def test_listings_refuse_other_actions(tickformer, command):
    assert "use list, or show NAME" in tickformer(command, "remove").err
    assert "needs a name" in tickformer(command, "show").err


def test_workloads_show_a_shape(tickformer):
    assert "toy-llama" in tickformer("workloads").out
    shown = json.loads(tickformer("workloads", "show", "gpt2", "--json").out)
    assert shown["shape"]["d_model"] == 768
    wrong = tickformer("workloads", "show", "gpt3")
    assert wrong.code == 1
    assert "gpt2" in wrong.err


def test_words_survive_assembling_and_disassembling(tickformer, matmul_source, tmp_path):
    words = tmp_path / "matmul.bin"
    assert tickformer("asm", matmul_source, "-o", words).code == 0
    text = tickformer("disasm", words).out
    again = tmp_path / "again.s"
    again.write_text(text, encoding="utf-8")
    other = tmp_path / "again.bin"
    assert tickformer("asm", again, "--output", other).code == 0
    assert other.read_bytes() == words.read_bytes()
    listing = tickformer("asm", matmul_source).out
    assert "matmul.f32 t2, t0, t1" in listing
    assert f"{np.fromfile(words, dtype='<u8')[1]:016x}" in listing


def test_assembler_errors_point_at_the_place(tickformer, tmp_path):
    file = tmp_path / "wrong.s"
    file.write_text("main:\n    matmull.f32 t0, t1, t2\n", encoding="utf-8")
    outcome = tickformer("asm", file)
    assert outcome.code == 1
    assert "wrong.s" in outcome.err
    assert "Did you mean 'matmul.f32'?" in outcome.err
    missing = tickformer("asm", tmp_path / "none.s")
    assert missing.code == 1
    assert "cannot read" in missing.err


def test_an_unwritable_output_is_refused_before_assembling(tickformer, matmul_source, tmp_path):
    outcome = tickformer("asm", matmul_source, "-o", tmp_path / "no" / "out.bin")
    assert outcome.code == 1
    assert "there is no folder" in outcome.err


def test_disasm_refuses_what_is_no_program(tickformer, tmp_path):
    file = tmp_path / "x.bin"
    file.write_bytes(b"12345")
    outcome = tickformer("disasm", file)
    assert outcome.code == 1
    assert "no whole number of 64-bit words" in outcome.err


def test_the_pieces_of_a_model_on_cores(tickformer, tmp_path):
    options = ("graph", "toy-llama", "--layers", "1", "--cores", "3")
    text = tickformer(*options, "--step", "decode").out
    assert "toy-llama, decode on 3 cores of teach, partition auto" in text
    assert re.search(r"2 .* layer0.down_proj +blocks .* core 0 >= \d", text)
    head = tickformer(*options, "--step", "head").out
    assert re.search(r"\n +2 .* lm_head +blocks", head)
    assert re.search(r"\n +0 .* argmax +all .* core 2 >= 1", head)
    for form, nodes in (("graphml", "node"), ("svg", "rect")):
        file = tmp_path / f"pieces.{form}"
        assert tickformer(*options, "--format", form, "-o", file).code == 0
        found = [item for item in ElementTree.parse(file).iter() if item.tag.endswith(nodes)]
        assert len(found) > 3 * 8
    assert 'label="core 2"' in tickformer(*options, "--format", "dot").out
    wrong = tickformer(*options, "--step", "encode")
    assert wrong.code == 1
    assert "use prefill, decode, head" in wrong.err
    assert "use auto, columns" in tickformer(*options, "--partition", "x").err


def test_the_graph_of_a_model_in_three_formats(tickformer, tmp_path):
    text = tickformer("graph", "toy-llama", "--layers", "1").out
    assert "layer0.attention" in text
    assert "layer1.attention" not in text
    dot = tickformer("graph", "toy-llama", "--format", "dot").out
    assert '"layer0.q_rope" -> "layer0.attention"' in dot
    file = tmp_path / "toy.graphml"
    assert tickformer("graph", "toy-llama", "--format", "graphml", "-o", file).code == 0
    assert ElementTree.parse(file).getroot().tag.endswith("graphml")
    wrong = tickformer("graph", "toy-llama", "--format", "svg")
    assert wrong.code == 1
    assert "text, dot, graphml" in wrong.err


def test_the_graph_of_instructions_marks_the_critical_path(tickformer, matmul_source):
    """On `teach`: li 1, load 4 rows + 2, matmul 16 slots + 4, store 4 rows + 1, each - 1 + ..."""
    text = tickformer("graph", matmul_source).out
    li, load, matmul, store = 1, 3 + 2, 15 + 4, 3 + 1
    assert f"critical path (*): {li + load + matmul + store} cycles on teach" in text
    starred = [line.split()[2] for line in text.splitlines() if line.startswith("*")]
    assert starred == ["li", "load.f32", "matmul.f32", "store.f32"]
    part = tickformer("graph", matmul_source, "--from", "7", "--to", "10").out
    assert "matmul" not in part
    wrong = tickformer("graph", matmul_source, "--from", "mian")
    assert wrong.code == 1
    assert "Did you mean 'main'?" in wrong.err
