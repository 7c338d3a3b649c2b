"""Text to token ids and back, and conversations to prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

Message = Mapping[str, str]  # {"role": "user", "content": "..."}

BACKEND_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_settings.json"
UNFINISHED = "\ufffd"  # what bytes that are no complete character yet decode to


class Tokenizer:
    """A model's tokenizer.

    Attributes:
        eos_ids: ids that end a generation.
        bos_token, eos_token: the text of the special tokens, for the chat template.
        chat_template: a Jinja template as Hugging Face models carry it, or None.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        eos_ids: tuple[int, ...] = (),
        bos_token: str = "",
        eos_token: str = "",
        chat_template: str | None = None,
    ) -> None:
        self._backend = backend
        self.eos_ids = eos_ids
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.chat_template = chat_template

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return int(self._backend.get_vocab_size())

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of ``text``.

        Args:
            special: add what the model expects around a text, such as a begin-of-text token;
                False for the output of :meth:`chat`, whose template already wrote it.
        """
        return list(self._backend.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of ``ids``; special tokens show only with ``special``."""
        return str(self._backend.decode(list(ids), skip_special_tokens=not special))

    def decode_stream(self) -> DecodeStream:
        """A decoder that takes ids one at a time."""
        return DecodeStream(self)

    def chat(self, messages: str | Sequence[Message]) -> str:
        """The prompt for a conversation, up to where the assistant's answer begins.

        Args:
            messages: one user message, or a list with ``role`` and ``content``.

        Raises:
            UserError: the model has no chat template, or the template refuses the messages.
        """
        if self.chat_template is None:
            raise UserError(
                "this model has no chat template: it was not trained for conversations; "
                "give it a text to continue instead (--prompt)"
            )
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return self._render(self.chat_template, messages)

    def encode_chat(self, messages: str | Sequence[Message]) -> list[int]:
        """Token ids of :meth:`chat`."""
        return self.encode(self.chat(messages), special=False)

    def _render(self, template: str, messages: Sequence[Message]) -> str:
        # Templates come with downloaded models: they run in Jinja's sandbox.
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(reason: str) -> None:
            raise TemplateError(reason)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = refuse
        environment.filters["tojson"] = lambda value, **options: json.dumps(
            value, ensure_ascii=False, **options
        )
        try:
            return environment.from_string(template).render(
                messages=messages,
                add_generation_prompt=True,
                bos_token=self.bos_token,
                eos_token=self.eos_token,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise UserError(f"the model's chat template failed: {error}") from error

    def save(self, folder: Path) -> None:
        """Write the tokenizer's two files into ``folder``."""
        self._backend.save(str(folder / BACKEND_FILE), pretty=False)
        settings = {
            "eos_ids": list(self.eos_ids),
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
            "chat_template": self.chat_template,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer | None:
        """What :meth:`save` wrote into ``folder``, None where there is nothing."""
        if not (folder / BACKEND_FILE).exists():
            return None
        settings: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        settings["eos_ids"] = tuple(settings["eos_ids"])
        return cls(load_backend(folder / BACKEND_FILE), **settings)


class DecodeStream:
    """Turns ids into text as they come, never in the middle of a character.

    A token is a piece of a byte string, so the text of one id alone may be half a character, and
    its leading space may depend on what stands before it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # ids already shown that the next text may depend on
        self._pending: list[int] = []  # ids whose text does not end on a character yet

    def step(self, token: int) -> str:
        """The new text after ``token``; empty while a character is incomplete."""
        self._pending.append(token)
        text = self._new_text()
        if not text or text.endswith(UNFINISHED):
            return ""
        self._context, self._pending = self._pending, []
        return text

    def finish(self) -> str:
        """What was held back, at the end of the generation."""
        text = self._new_text() if self._pending else ""
        self._context, self._pending = self._pending, []
        return text

    def _new_text(self) -> str:
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._pending)[len(before) :]


def load_backend(path: Path) -> Backend:
    """A ``tokenizer.json``.

    Raises:
        UserError: it is damaged.
    """
    from tokenizers import Tokenizer as Backend

    try:
        return Backend.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for a bad file
        raise UserError(f"{path} is not a tokenizer file: {error}") from error


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE vocabularies.

    Printable bytes stand for themselves, the others for U+0100 onward, in order (Radford et al.
    2019, ``bytes_to_unicode`` of the published encoder).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 0x100 + hidden.index(byte)) for byte in range(256)]


def byte_tokenizer() -> Tokenizer:
    """One token per byte, and id 256 for the end of the text: for the built-in toy models."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    vocabulary = {character: byte for byte, character in enumerate(byte_characters())}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(backend, eos_ids=(256,), eos_token="<|endoftext|>")
