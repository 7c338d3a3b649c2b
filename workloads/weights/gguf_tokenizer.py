"""The tokenizer that a GGUF file carries in its metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workloads.tokenizer import Tokenizer

# Values of `tokenizer.ggml.pre` (llama.cpp, llama-vocab.cpp).
GPT2_LIKE = ("default", "gpt-2", "gpt2")
LLAMA3_LIKE = ("llama-bpe", "llama3", "llama-v3")
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL, USER_DEFINED = 3, 4  # values of `tokenizer.ggml.token_type`

Field = Callable[..., Any]  # field(key, default) -> value


def tokenizer_from_gguf(field: Field) -> Tokenizer | None:
    """A byte-level BPE tokenizer from metadata; None for a kind that is not supported.

    Args:
        field: gives a metadata value by key, or the default passed with it.
    """
    splitter = _splitter(field("tokenizer.ggml.pre", "default"))
    if field("tokenizer.ggml.model", None) != "gpt2" or splitter is None:
        return None
    from tokenizers import AddedToken, decoders, models, processors
    from tokenizers import Tokenizer as Backend

    tokens: list[str] = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in field("tokenizer.ggml.merges")]
    types: list[int] = field("tokenizer.ggml.token_type", [1] * len(tokens))
    llama3 = field("tokenizer.ggml.pre", "default") in LLAMA3_LIKE
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=llama3))
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == CONTROL
        ]
    )
    backend.add_tokens(
        [
            AddedToken(token, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == USER_DEFINED
        ]
    )
    bos = field("tokenizer.ggml.bos_token_id", None)
    eos = field("tokenizer.ggml.eos_token_id", None)
    if bos is not None and field("tokenizer.ggml.add_bos_token", llama3):
        backend.post_processor = processors.TemplateProcessing(
            single=[tokens[bos], "$A"], special_tokens=[(tokens[bos], bos)]
        )
    ends = [eos, *(field(f"tokenizer.ggml.{end}_token_id", None) for end in ("eot", "eom"))]
    return Tokenizer(
        backend,
        eos_ids=tuple(dict.fromkeys(int(end) for end in ends if end is not None)),
        bos_token="" if bos is None else tokens[bos],
        eos_token="" if eos is None else tokens[eos],
        chat_template=field("tokenizer.chat_template", None),
    )


def _splitter(pre: str) -> Any:
    """The pre-tokenizer of that name, None where it is unknown."""
    from tokenizers import Regex
    from tokenizers import pre_tokenizers as pre_

    if pre in GPT2_LIKE:
        return pre_.ByteLevel(add_prefix_space=False)
    if pre == "smollm":
        return pre_.Sequence(
            [pre_.Digits(individual_digits=True), pre_.ByteLevel(add_prefix_space=False)]
        )
    if pre in LLAMA3_LIKE:
        return pre_.Sequence(
            [
                pre_.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
                pre_.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return None
