"""Choosing the next token on the host, from the logits the simulated CPU computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Reject settings that mean nothing.

    Raises:
        UserError: naming the setting and its range.
    """
    if not temperature >= 0 or np.isinf(temperature):
        raise UserError(f"temperature {temperature} must be 0 (greedy) or above")
    if top_k < 0:
        raise UserError(f"top-k {top_k} must be 0 (off) or above")
    if not 0 < top_p <= 1:
        raise UserError(f"top-p {top_p} must be above 0 and at most 1 (off)")


def sample(
    logits: NDArray[np.floating],
    temperature: float,
    top_k: int,
    top_p: float,
    rng: np.random.Generator,
) -> int:
    """Draw one token id.

    Scores are divided by ``temperature``; then only the ``top_k`` best stay, then only the fewest
    best whose probabilities reach ``top_p`` (Holtzman et al. 2020). Equal scores rank by lower id.
    Computed in float64; one number is drawn from ``rng`` per call.

    Args:
        logits: ``[vocab]``.
        temperature: 0 takes the largest logit and draws nothing.
        top_k: 0 keeps all.
        top_p: 1 keeps all.

    Raises:
        UserError: a setting outside its range.
    """
    check_sampling(temperature, top_k, top_p)
    scores = np.asarray(logits, dtype=np.float64)
    if temperature == 0:
        return int(np.argmax(scores))
    ranked = np.argsort(-scores, kind="stable")
    if top_k:
        ranked = ranked[:top_k]
    weights = np.exp((scores[ranked] - scores[ranked[0]]) / temperature)
    reached = np.cumsum(weights)
    if top_p < 1:
        kept = int(np.searchsorted(reached, top_p * reached[-1])) + 1
        reached = reached[:kept]
    chosen = int(np.searchsorted(reached, rng.random() * reached[-1], side="right"))
    return int(ranked[min(chosen, len(reached) - 1)])
