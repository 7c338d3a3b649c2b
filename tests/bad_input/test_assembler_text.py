"""Assembler text that is none, or asks for more than a computer has."""

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b".tensor a f32 4 4 random -1\nhalt\n", ":1:26: the seed is -1"),
        (b".tensor a f32 1000000 1000000\nhalt\n", "declare smaller tensors"),
        (b".tensor a f32 9999999999999999 999999999999999\nhalt\n", "declare smaller tensors"),
        (b".control 99999999999992\nhalt\n", "smaller control segment"),
        (b"li x1, 0x" + b"f" * 5000 + b"\n", "the number is too large"),
        (b".equ N " + b"9" * 4000 + b"\n", "the number is too large"),
        (b"li x1, f32(1e40)\nhalt\n", "1e40 is beyond the range of f32"),
    ],
)
def test_refused(refused, tmp_path, text, expected):
    file = tmp_path / "bad.s"
    file.write_bytes(text)
    assert expected in refused("run-asm", file)


def test_a_missing_file_is_named_once(refused, tmp_path):
    message = refused("asm", tmp_path / "missing.s")
    assert message.count("missing.s") == 1
    assert "No such file" in message
