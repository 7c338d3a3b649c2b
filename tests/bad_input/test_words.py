"""Files of words, and output over the input."""


def test_garbage_is_placed(refused, tmp_path):
    file = tmp_path / "garbage.bin"
    file.write_bytes(bytes([0xC2]) + bytes(7) + b"\xff" * 8)
    assert "program 'garbage', pc 1: word 0xffffffffffffffff" in refused("disasm", file)


def test_the_source_is_not_overwritten(refused, kernel):
    before = kernel.read_bytes()
    assert "is the assembler file itself" in refused("asm", kernel, "-o", kernel)
    assert kernel.read_bytes() == before
