"""Nodes change when lines come and from where, never what a program computes."""

from __future__ import annotations

import pytest

from sim import simulate

NODES = ("numa.nodes=2", "numa.remote_ns=60", "numa.link=2GB/s")


def result(*overrides, cores=1):
    """A few tokens of a small model."""
    return simulate(
        "toy-llama", "teach", ids=[1, 2, 3], tokens=3, cores=cores, overrides=list(overrides)
    )


@pytest.mark.parametrize("cores", [1, 3])
def test_values_and_instructions_are_the_same_on_nodes_which_cost_time(cores):
    one = result(cores=cores)
    for interleave in ("page", "block"):
        two = result(*NODES, f"numa.interleave={interleave}", cores=cores)
        assert two.tokens == one.tokens
        assert two.logits_top5 == one.logits_top5
        assert two.account.flops == one.account.flops
        if cores == 1:
            assert two.account.instructions == one.account.instructions
        reads = [node["local_reads"] + node["remote_reads"] for node in two.account.nodes]
        assert sum(reads) == two.account.dram["reads"]
        if interleave == "page":  # as blocks the weights may lie where the only core is
            assert two.cycles > 1.1 * one.cycles
            assert min(reads) > 0.4 * sum(reads)
        assert two.to_dict()["nodes"] == two.account.nodes
    assert "nodes" not in one.to_dict()
