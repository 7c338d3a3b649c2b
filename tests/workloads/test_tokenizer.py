"""Tokenizers: round trips, streams that never split a character, chat templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.errors import UserError
from tests.workloads.real_weights import PROMPT, PROMPT_IDS
from workloads.tokenizer import Tokenizer, byte_tokenizer
from workloads.weights.source import WeightSource

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


BYTES = byte_tokenizer()


def with_template(template: str) -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="|", codec="utf-8")))
def test_the_byte_tokenizer_gives_one_id_per_byte(text: str) -> None:
    ids = BYTES.encode(text)
    assert bytes(ids) == text.encode()
    assert BYTES.decode(ids) == text


def test_the_end_of_text_is_special() -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.encode("a<|endoftext|>") == [97, 256]
    assert tokenizer.decode([97, 256]) == "a"
    assert tokenizer.decode([97, 256], special=True) == "a<|endoftext|>"
    assert tokenizer.eos_ids == (256,)
    assert tokenizer.vocab_size == 257


def test_a_stream_holds_back_incomplete_characters() -> None:
    tokenizer = byte_tokenizer()
    stream = tokenizer.decode_stream()
    pieces = [stream.step(byte) for byte in "aé€😀".encode()]
    assert pieces == ["a", "", "é", "", "", "€", "", "", "", "😀"]
    assert stream.finish() == ""


def test_a_stream_gives_up_the_rest_at_the_end() -> None:
    stream = byte_tokenizer().decode_stream()
    assert stream.step(0xE2) == ""
    assert stream.finish() == "\ufffd"
    assert stream.step(97) == "a"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 256), max_size=30))
def test_a_stream_says_what_decoding_at_once_says(ids: list[int]) -> None:
    tokenizer = byte_tokenizer()
    stream = tokenizer.decode_stream()
    streamed = "".join(stream.step(token) for token in ids) + stream.finish()
    text = tokenizer.decode(ids)
    # Broken bytes may be grouped into one or several marks; all else must be equal.
    assert streamed.replace("\ufffd", "") == text.replace("\ufffd", "")


def test_a_chat_template_renders_the_conversation_up_to_the_answer() -> None:
    tokenizer = with_template(CHATML)
    assert tokenizer.chat("Hi") == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert tokenizer.chat(conversation).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


def test_a_template_sees_the_special_tokens() -> None:
    tokenizer = with_template("{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}")
    tokenizer.bos_token = "<s>"
    assert tokenizer.chat("x") == "<s>x<|endoftext|>"


def test_a_template_may_refuse_and_may_not_touch_the_host() -> None:
    with pytest.raises(UserError, match="no system messages"):
        with_template("{{ raise_exception('no system messages') }}").chat("x")
    with pytest.raises(UserError, match="chat template failed"):
        with_template("{{ messages.__class__.__mro__[1].__subclasses__() }}").chat("x")
    with pytest.raises(UserError, match="chat template failed"):
        with_template("{% for %}").chat("x")


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(UserError, match=r"no chat template.*--prompt"):
        byte_tokenizer().chat("x")


def test_saved_and_loaded_tokenizers_are_equal(tmp_path: Path) -> None:
    tokenizer = with_template(CHATML)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded is not None
    assert loaded.encode("né <|endoftext|>") == tokenizer.encode("né <|endoftext|>")
    assert (loaded.eos_ids, loaded.eos_token, loaded.bos_token, loaded.chat_template) == (
        tokenizer.eos_ids, tokenizer.eos_token, tokenizer.bos_token, tokenizer.chat_template,
    )  # fmt: skip


def test_an_empty_folder_has_no_tokenizer(tmp_path: Path) -> None:
    assert Tokenizer.load(tmp_path) is None


@pytest.mark.weights
def test_smollm2_splits_the_reference_prompt_into_the_reference_ids(smollm2: WeightSource) -> None:
    tokenizer = smollm2.tokenizer()
    assert tokenizer is not None
    assert tokenizer.encode(PROMPT) == PROMPT_IDS
    assert tokenizer.decode(PROMPT_IDS) == PROMPT
    # The pre-tokenizer "smollm" takes digits one by one.
    assert len(tokenizer.encode("2025")) == 4
    for text in ("Ωmega, naïve café 😀\n\n  def f(x):\n\treturn x", "it's 12:30", " a  b   c"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.weights
def test_smollm2_renders_its_chat_template(smollm2: WeightSource) -> None:
    tokenizer = smollm2.tokenizer()
    assert tokenizer is not None
    assert tokenizer.chat("Hi") == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer.encode_chat("Hi")
    assert ids[0] == 1  # <|im_start|> as one special token
    assert ids.count(1) == 3
    assert ids.count(2) == 2
    assert tokenizer.eos_ids == (2,)
