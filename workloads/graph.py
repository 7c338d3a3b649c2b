"""The dataflow graph of a model: one node per tensor operator.

A graph is a ``networkx.DiGraph``. The node's id is the operator's name (``layer3.q_proj``,
``final_norm``, ``argmax``); nodes are added in the order of the forward pass, which is a
topological order. Node attributes:

``op``
    the kind, one of :data:`OPERATORS`;
``layer``
    the layer's number, or None outside the layers;
``inputs``
    names of the operators whose results it reads, in order, or ``"tokens"`` for the token ids;
``weights``
    role -> canonical weight name (:meth:`workloads.config.ModelConfig.weight_shapes`);
``attrs``
    the numbers the operator needs, by name.

An edge carries ``shape``, the symbolic shape of the value that flows along it: ``("rows", d)``
for all rows of the step, ``("sequences", d)`` after ``select_last``. The graph itself carries the
model's ``config``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.config import ModelConfig

if TYPE_CHECKING:
    import networkx

OPERATORS: dict[str, str] = {
    "embed": "row of the embedding table per token, plus the row of its position (gpt2)",
    "rmsnorm": "x / sqrt(mean(x^2) + eps) * scale",
    "layernorm": "(x - mean(x)) / sqrt(var(x) + eps) * scale + bias",
    "linear": "x @ weight.T + bias",
    "rope": "turn neighbouring pairs of every head by position * frequency",
    "kv_append": "write the step's keys and values into the cache",
    "attention": "softmax(q @ K.T / sqrt(head_dim), causal) @ V over the cache, per head",
    "silu_mul": "silu(gate) * up",
    "gelu": "GELU, by tanh or by erf",
    "add": "residual connection",
    "select_last": "the last row of each sequence",
    "argmax": "index of the largest logit, the first on ties",
}

Shape = tuple[str | int, ...]


class GraphBuilder:
    """Adds operators to a graph in forward order, wiring each to the results it names."""

    def __init__(self, config: ModelConfig) -> None:
        import networkx

        self.graph: networkx.DiGraph[str] = networkx.DiGraph(config=config)
        self.layer: int | None = None
        self._shapes: dict[str, Shape] = {}

    def add(
        self,
        name: str,
        op: str,
        inputs: list[str],
        shape: Shape,
        weights: dict[str, str] | None = None,
        **attrs: Any,
    ) -> str:
        """Add operator ``name`` (prefixed by its layer) and return its full name.

        ``shape`` is the shape of its result.
        """
        full = name if self.layer is None else f"layer{self.layer}.{name}"
        self.graph.add_node(
            full,
            op=op,
            layer=self.layer,
            inputs=list(inputs),
            weights=dict(weights or {}),
            attrs=attrs,
        )
        for producer in inputs:
            if producer != "tokens":
                self.graph.add_edge(producer, full, shape=self._shapes[producer])
        self._shapes[full] = shape
        return full

    def linear(self, name: str, source: str, weight: str, n: int, k: int, bias: bool) -> str:
        """Add ``source @ weight.T``: ``k`` elements in, ``n`` out."""
        weights = {"weight": weight}
        if bias:
            weights["bias"] = f"{weight}.bias"
        rows = self._shapes[source][0]
        return self.add(name, "linear", [source], (rows, n), weights, n=n, k=k)

    def attention(self, normed: str, config: ModelConfig) -> str:
        """Add projections, rotation, cache and attention up to the output projection."""
        d, q_width, kv_width = config.d_model, config.q_width, config.kv_width
        heads, kv_heads, head_dim = config.heads, config.kv_heads, config.head_dim
        prefix = f"layer{self.layer}."
        q = self.linear("q_proj", normed, f"{prefix}q", q_width, d, config.qkv_bias)
        k = self.linear("k_proj", normed, f"{prefix}k", kv_width, d, config.qkv_bias)
        v = self.linear("v_proj", normed, f"{prefix}v", kv_width, d, config.qkv_bias)
        if config.rope_base is not None:
            q = self.add("q_rope", "rope", [q], ("rows", q_width), heads=heads, head_dim=head_dim)
            k = self.add(
                "k_rope", "rope", [k], ("rows", kv_width), heads=kv_heads, head_dim=head_dim
            )
        cache = self.add(
            "kv_append",
            "kv_append",
            [k, v],
            ("cache", kv_width),
            kv_heads=kv_heads,
            head_dim=head_dim,
        )
        mixed = self.add(
            "attention",
            "attention",
            [q, cache],
            ("rows", q_width),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
        )
        return self.linear("o_proj", mixed, f"{prefix}o", d, q_width, config.o_bias)

    def output(self, x: str, norm: str, config: ModelConfig) -> networkx.DiGraph[str]:
        """Add everything after the last layer: select, ``norm``, output projection, arg-max."""
        self.layer = None
        d, vocab = config.d_model, config.vocab
        last = self.add("select_last", "select_last", [x], ("sequences", d), d=d)
        weights = {"scale": "final_norm"}
        if norm == "layernorm":
            weights["bias"] = "final_norm.bias"
        normed = self.add(
            "final_norm", norm, [last], ("sequences", d), weights, d=d, eps=config.norm_eps
        )
        logits = self.linear("lm_head", normed, config.lm_head, vocab, d, bias=False)
        self.add("argmax", "argmax", [logits], ("sequences", 1), n=vocab)
        return self.graph


def build_graph(config: ModelConfig) -> networkx.DiGraph[str]:
    """The dataflow graph of ``config``, by its family."""
    from workloads.models import gpt2, llama

    builders = {"llama": llama.build_graph, "gpt2": gpt2.build_graph}
    return builders[config.family](config)
