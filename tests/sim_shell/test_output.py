"""Output files appear whole or not at all, and are checked before the work begins."""

import os

import pytest

from isa.errors import UserError
from sim.cli.output import atomic_writer, check_writable, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old", encoding="utf-8")

    def fail():
        with atomic_writer(target) as file:
            file.write("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_write_replaces_the_file_with_the_usual_permissions(tmp_path):
    target = tmp_path / "out.json"
    write_text(target, "new")
    assert target.read_text(encoding="utf-8") == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_is_followed_and_a_pipe_is_written_not_replaced(tmp_path):
    target, link = tmp_path / "real.json", tmp_path / "link.json"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    check_writable(link)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe)
    write_text(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_dash_is_stdout(capsys):
    check_writable("-")
    write_text("-", "text\n")
    assert capsys.readouterr().out == "text\n"


def test_what_cannot_be_written_is_said_before(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        check_writable(tmp_path / "missing" / "out.json")
    with pytest.raises(UserError, match="it is a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "fine.json")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_files_is_said_before():
    with pytest.raises(UserError, match="cannot write /proc/out"):
        check_writable("/proc/out.json")
