"""The same forward passes in PyTorch, on one thread: what the simulator is compared with.

Written for speed as one would without writing kernels: fused projections for q, k and v (and for
gate and up), PyTorch's own attention, no modules, no gradients.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
THREADS = 1


class TorchModel:
    """A model of the project's weight source as PyTorch tensors."""

    def __init__(self, source: Any, dtype: str) -> None:
        torch.set_num_threads(THREADS)
        self.config = source.config
        self.dtype = DTYPES[dtype]
        names = source.names()

        def get(*parts: str) -> torch.Tensor | None:
            """The named weights, one below the other; None where there are none."""
            if parts[0] not in names:
                return None
            whole = [torch.from_numpy(source.get(part).copy()) for part in parts]
            return torch.cat(whole).to(self.dtype).contiguous()

        config = self.config
        self.embed, self.positions = get("embed"), get("pos_embed")
        self.lm_head = self.embed if config.tied else get("lm_head")
        self.final_norm = (get("final_norm"), get("final_norm.bias"))
        up = ("gate", "up") if config.family == "llama" else ("up",)
        linears = {"qkv": ("q", "k", "v"), "o": ("o",), "up": up, "down": ("down",)}
        self.layers: list[dict[str, Any]] = []
        for number in range(config.layers):
            prefix = f"layer{number}."
            layer: dict[str, Any] = {
                norm: (get(f"{prefix}{norm}"), get(f"{prefix}{norm}.bias"))
                for norm in ("attn_norm", "ffn_norm")
            }
            for name, parts in linears.items():
                layer[name] = (
                    get(*(f"{prefix}{part}" for part in parts)),
                    get(*(f"{prefix}{part}.bias" for part in parts)),
                )
            self.layers.append(layer)
        if config.rope_base is not None:
            frequencies = torch.from_numpy(config.inverse_frequencies())
            angles = torch.arange(config.context)[:, None] * frequencies
            self.cos = angles.cos().to(self.dtype)
            self.sin = angles.sin().to(self.dtype)

    @torch.inference_mode()
    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Logits of the last position."""
        return self._forward(ids, 0, None)

    @torch.inference_mode()
    def decode(self, token: int, caches: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Logits after one more token; the last place of every cache is for it."""
        return self._forward([token], caches[0][0].shape[1] - 1, caches)

    def caches(self, context: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values [kv_heads, context + 1, head_dim] of every layer, arbitrary numbers."""
        shape = (self.config.kv_heads, context + 1, self.config.head_dim)
        return [
            (torch.randn(shape).to(self.dtype), torch.randn(shape).to(self.dtype))
            for _ in range(self.config.layers)
        ]

    def _forward(self, ids: list[int], start: int, caches: Any) -> torch.Tensor:
        x = self.embed[ids]
        if self.positions is not None:
            x = x + self.positions[start : start + len(ids)]
        for number, layer in enumerate(self.layers):
            h = self._norm(x, layer["attn_norm"])
            x = x + self._attention(layer, h, start, caches[number] if caches else None)
            h = F.linear(self._norm(x, layer["ffn_norm"]), *layer["up"])
            if self.config.family == "llama":
                gate, up = h.chunk(2, dim=-1)
                h = F.silu(gate) * up
            else:
                kind = "tanh" if self.config.activation == "gelu.tanh" else "none"
                h = F.gelu(h, approximate=kind)
            x = x + F.linear(h, *layer["down"])
        return F.linear(self._norm(x[-1], self.final_norm), self.lm_head)

    def _norm(self, x: torch.Tensor, weights: Any) -> torch.Tensor:
        shape, eps = (self.config.d_model,), self.config.norm_eps
        if self.config.family == "llama":
            return F.rms_norm(x, shape, weights[0], eps)
        return F.layer_norm(x, shape, *weights, eps)

    def _attention(self, layer: Any, h: torch.Tensor, start: int, cache: Any) -> torch.Tensor:
        config, rows = self.config, len(h)
        widths = (config.q_width, config.kv_width, config.kv_width)
        parts = F.linear(h, *layer["qkv"]).split(widths, dim=-1)
        q, k, v = (part.view(rows, -1, config.head_dim).transpose(0, 1) for part in parts)
        if config.rope_base is not None:
            q, k = self._rotate(q, start), self._rotate(k, start)
        if cache is not None:
            keys, values = cache
            keys[:, start:], values[:, start:] = k, v
            k, v = keys, values
        mixed = F.scaled_dot_product_attention(
            q[None],
            k[None],
            v[None],
            is_causal=rows > 1,
            enable_gqa=config.heads != config.kv_heads,
        )
        return F.linear(mixed[0].transpose(0, 1).reshape(rows, -1), *layer["o"])

    def _rotate(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """Turn neighbouring pairs of [heads, rows, head_dim] by their position."""
        cos, sin = (table[start : start + x.shape[1]] for table in (self.cos, self.sin))
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
