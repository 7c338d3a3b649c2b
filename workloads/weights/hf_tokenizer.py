"""The tokenizer of a Hugging Face model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isa.errors import UserError
from workloads.tokenizer import Tokenizer, load_backend
from workloads.weights.files import read_json


def tokenizer_from_folder(folder: Path) -> Tokenizer | None:
    """The tokenizer in ``tokenizer.json``, None where the folder has none.

    Raises:
        UserError: one of the tokenizer's files is damaged.
    """
    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        return _read(folder)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: a file of its tokenizer is damaged: {error}") from error


def _read(folder: Path) -> Tokenizer:
    backend = load_backend(folder / "tokenizer.json")
    settings = _optional(folder / "tokenizer_config.json")
    bos_token = _text(settings.get("bos_token"))
    eos_token = _text(settings.get("eos_token"))
    ends = [
        *_ids(_optional(folder / "generation_config.json").get("eos_token_id")),
        *_ids(_optional(folder / "config.json").get("eos_token_id")),
        *_ids(backend.token_to_id(eos_token) if eos_token else None),
    ]
    return Tokenizer(
        backend,
        eos_ids=tuple(dict.fromkeys(ends)),
        bos_token=bos_token,
        eos_token=eos_token,
        chat_template=_template(folder, settings),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _text(token: Any) -> str:
    """A special token's text: older files write it as an object."""
    if isinstance(token, dict):
        return str(token.get("content", ""))
    return "" if token is None else str(token)


def _ids(value: Any) -> list[int]:
    """One id, several, or none."""
    if value is None:
        return []
    return [int(one) for one in value] if isinstance(value, list) else [int(value)]


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The chat template: a file of its own in newer folders, else in the configuration."""
    own_file = folder / "chat_template.jinja"
    if own_file.is_file():
        return own_file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return None if template is None else str(template)
