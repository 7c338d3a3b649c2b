"""What a run is asked to do: prompt ids, context, how many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isa.errors import UserError

if TYPE_CHECKING:
    from workloads.tokenizer import Tokenizer
    from workloads.weights.source import WeightSource

DEFAULT_PROMPT = "Once upon a time"
DEFAULT_PREFILL = 16  # where a model has no tokenizer
DEFAULT_TOKENS = 16


@dataclass(frozen=True)
class Request:
    """What goes in: ids of the prompt (possibly none), the text shown for them, how many come out.

    ``context`` counts the tokens in the cache before.
    """

    ids: list[int]
    shown: str
    context: int
    tokens: int

    @property
    def positions(self) -> int:
        """Cache positions needed: the last generated token does not go back in."""
        steps = self.tokens - 1 if self.ids else self.tokens
        return self.context + len(self.ids) + steps


def make_request(
    source: WeightSource,
    prompt: str | None,
    chat: str | None,
    ids: Sequence[int] | None,
    prefill: int,
    context: int,
    tokens: int | None,
    seed: int,
) -> Request:
    given = [
        name
        for name, is_given in (
            ("prompt", prompt is not None),
            ("chat", chat is not None),
            ("ids", ids is not None),
            ("prefill", prefill > 0),
        )
        if is_given
    ]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} were both given; choose one of them")
    if context < 0 or prefill < 0 or (tokens is not None and tokens < 1):
        raise UserError("context and prefill must be 0 or more, tokens at least 1")
    if not given and not context:
        if source.tokenizer() is None:
            prefill = DEFAULT_PREFILL
        else:
            prompt = DEFAULT_PROMPT
    shown = ""
    default_tokens = DEFAULT_TOKENS
    if prompt is not None:
        prompt_ids = _tokenizer(source, "prompt").encode(prompt)
        shown = prompt
    elif chat is not None:
        prompt_ids = _tokenizer(source, "chat").encode_chat(chat)
    elif ids is not None:
        prompt_ids = list(ids)
    else:
        _check_length(context + prefill, source)
        prompt_ids = arbitrary_ids(prefill, source.config.vocab, seed)
        default_tokens = 1
    if given and not prompt_ids:
        raise UserError("the prompt is empty; it needs at least one token")
    request = Request(prompt_ids, shown, context, tokens or default_tokens)
    _check_length(request.context + len(request.ids), source)
    limit = source.config.context
    if request.positions > limit:
        raise UserError(
            f"{len(request.ids) + request.context} tokens before and {request.tokens} to generate "
            f"are longer than the context of {source.config.name}, {limit}; generate at most "
            f"{request.tokens - (request.positions - limit)}"
        )
    return request


def _check_length(tokens: int, source: WeightSource) -> None:
    limit = source.config.context
    if tokens > limit:
        raise UserError(
            f"the prompt is longer than the context: {tokens} tokens, but {source.config.name} "
            f"was made for {limit}; shorten it"
        )


def _tokenizer(source: WeightSource, option: str) -> Tokenizer:
    tokenizer = source.tokenizer()
    if tokenizer is None:
        raise UserError(
            f"{source.config.name} has no tokenizer here, so it takes no {option}; "
            "give token ids (ids) or a number of arbitrary tokens (prefill)"
        )
    return tokenizer


def arbitrary_ids(count: int, vocab: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, count).tolist()
