"""Files given for tensors that hold something else."""

import numpy as np
import pytest

HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999), }"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.ones((4, 4), complex), "one array of real numbers"),
        (np.full((4, 4), "a"), "one array of real numbers"),
        (np.zeros((4, 4), [("x", "f4")]), "one array of real numbers"),
        (np.full((4, 4), None), "no .npy file of numbers"),
        (np.full((4, 4), 1e300), "beyond the range of f32"),
        (np.ones(16), "the file holds 16"),
    ],
)
@pytest.mark.parametrize("option", ["--tensor", "--expect"])
def test_wrong_arrays(refused, kernel, tmp_path, option, values, expected):
    np.save(tmp_path / "wrong.npy", values, allow_pickle=True)
    assert expected in refused("run-asm", kernel, option, f"a={tmp_path / 'wrong.npy'}")


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\x93NUMPY\x01\x00v\x00" + HEADER.ljust(117) + b"\n"],
    ids=["empty", "garbage", "petabytes"],
)
def test_damaged_files(refused, kernel, tmp_path, content):
    file = tmp_path / "damaged.npy"
    file.write_bytes(content)
    assert "no .npy file of numbers" in refused("run-asm", kernel, "--tensor", f"a={file}")


def test_archives(refused, kernel, tmp_path):
    np.savez(tmp_path / "several.npz", a=np.ones((4, 4)))
    message = refused("run-asm", kernel, "--tensor", f"a={tmp_path / 'several.npz'}")
    assert "an archive of arrays" in message
