"""How models stretch their rotary frequencies for long contexts, as divisors per pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from isa.errors import UserError


def llama3_factors(
    base: float,
    head_dim: int,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_context: int,
) -> tuple[float, ...]:
    """Divisors of the rotary frequencies as Llama 3.1 and later stretch them.

    Wavelengths under ``original_context / high_freq_factor`` stay, those over
    ``original_context / low_freq_factor`` grow by ``factor``, those between are blended linearly
    in frequency (Meta's reference code of Llama 3.1, ``apply_scaling``).
    """
    factors = []
    for pair in range(head_dim // 2):
        wavelength = 2.0 * math.pi * base ** (2.0 * pair / head_dim)
        turns = original_context / wavelength
        if turns > high_freq_factor:
            factors.append(1.0)
        elif turns < low_freq_factor:
            factors.append(factor)
        else:
            smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
            factors.append(1.0 / ((1.0 - smooth) / factor + smooth))
    return tuple(factors)


def rope_factors(
    scaling: Mapping[str, Any] | None, base: float, head_dim: int, where: str
) -> tuple[float, ...] | None:
    """Divisors for a ``rope_scaling`` table with Hugging Face's keys; None for no scaling.

    Raises:
        UserError: a kind of scaling that is not supported, or a missing key; ``where`` names the
            file or model in the message.
    """
    if not scaling:
        return None
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    try:
        if kind == "default":
            return None
        if kind == "linear":
            return (float(scaling["factor"]),) * (head_dim // 2)
        if kind == "llama3":
            return llama3_factors(
                base,
                head_dim,
                float(scaling["factor"]),
                float(scaling["low_freq_factor"]),
                float(scaling["high_freq_factor"]),
                int(scaling["original_max_position_embeddings"]),
            )
    except KeyError as missing:
        raise UserError(f"{where}: rope_scaling of type {kind!r} lacks the key {missing}") from None
    raise UserError(
        f"{where}: rope_scaling of type {kind!r} is not supported; known: default, linear, llama3"
    )
