"""Dataflow graphs: complete, ordered, and wired as the papers draw them."""

from __future__ import annotations

import networkx
import pytest

from tests.workloads.synthetic import GPT2, LLAMA, llama_with
from workloads.config import ModelConfig
from workloads.graph import OPERATORS, build_graph

CONFIGS = [LLAMA, GPT2, llama_with(tied=True, qkv_bias=True, o_bias=True, mlp_bias=True)]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_weight_of_the_model_is_used_and_no_other(config: ModelConfig) -> None:
    graph = build_graph(config)
    used = {name for _, node in graph.nodes(data=True) for name in node["weights"].values()}
    assert used == set(config.weight_shapes())


@pytest.mark.parametrize("config", CONFIGS)
def test_nodes_come_in_topological_order_and_their_inputs_are_edges(config: ModelConfig) -> None:
    graph = build_graph(config)
    assert networkx.is_directed_acyclic_graph(graph)
    seen: set[str] = set()
    for name, node in graph.nodes(data=True):
        assert node["op"] in OPERATORS
        inputs = [source for source in node["inputs"] if source != "tokens"]
        assert set(inputs) <= seen
        assert set(inputs) == set(graph.predecessors(name))
        seen.add(name)
    assert [name for name in graph if graph.out_degree(name) == 0] == ["argmax"]


@pytest.mark.parametrize("config", CONFIGS)
def test_linear_operators_agree_with_the_shapes_of_their_weights(config: ModelConfig) -> None:
    graph = build_graph(config)
    shapes = config.weight_shapes()
    for name, node in graph.nodes(data=True):
        if node["op"] == "linear":
            n, k = node["attrs"]["n"], node["attrs"]["k"]
            assert shapes[node["weights"]["weight"]] == (n, k)
            (edge,) = graph.in_edges(name, data=True)
            assert edge[2]["shape"][1] == k


def test_a_llama_layer_is_wired_as_in_the_paper() -> None:
    graph = build_graph(LLAMA)
    assert graph.nodes["layer1.attn_add"]["inputs"] == ["layer0.ffn_add", "layer1.o_proj"]
    assert graph.nodes["layer1.attention"]["inputs"] == ["layer1.q_rope", "layer1.kv_append"]
    assert graph.nodes["layer1.kv_append"]["inputs"] == ["layer1.k_rope", "layer1.v_proj"]
    assert graph.nodes["layer1.silu_mul"]["inputs"] == ["layer1.gate_proj", "layer1.up_proj"]
    assert graph.nodes["layer1.attention"]["attrs"] == {"heads": 6, "kv_heads": 2, "head_dim": 8}
    assert graph.nodes["layer1.q_proj"]["layer"] == 1
    assert graph.nodes["final_norm"]["layer"] is None


def test_a_gpt2_layer_has_learned_positions_and_no_rotation() -> None:
    graph = build_graph(GPT2)
    assert graph.nodes["embed"]["weights"] == {"table": "embed", "position": "pos_embed"}
    assert not any(node["op"] == "rope" for _, node in graph.nodes(data=True))
    assert graph.nodes["layer0.gelu"]["attrs"]["kind"] == "gelu.tanh"
    assert graph.nodes["lm_head"]["weights"] == {"weight": "embed"}


def test_only_the_last_row_of_a_sequence_reaches_the_output_projection() -> None:
    graph = build_graph(LLAMA)
    assert graph.edges["select_last", "final_norm"]["shape"] == ("sequences", 20)
    assert graph.edges["lm_head", "argmax"]["shape"] == ("sequences", 261)
    assert graph.edges["layer1.ffn_add", "select_last"]["shape"] == ("rows", 20)
