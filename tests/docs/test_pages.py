"""The pages are true: links lead somewhere, named files and objects exist, tables are complete."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from isa.table import ROWS
from sim import simulate
from sim.account import CAUSES
from sim.governor import load_schedule
from sim.machine import load_machine
from sim.result import Race
from tests.docs.examples import PAGES, ROOT, blocks

ALL_PAGES = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:isa|workloads|sim|docs|tests)/[\w./-]*|[\w-]+\.(?:md|toml)")
_OBJECT = re.compile(r"(?:isa|workloads|sim)(?:\.\w+)+")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _prose(page: str) -> str:
    """A page without its fenced blocks."""
    source = _text(page)
    for block in reversed(blocks(page)):
        source = source[: block.start] + source[block.end :]
    return source


def _anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    plain = [heading.replace("`", "").lower() for heading in _HEADING.findall(_text(page))]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in _anchors(str(file.resolve().relative_to(ROOT))), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    folder = ""  # `sim/engine/layout.py`, `advance.py`: the second lies where the first does
    own = {block.file for block in blocks(page)}
    for name in _CODE.findall(_prose(page)):
        if _PATH.fullmatch(name):
            places = [ROOT / name, (ROOT / page).parent / name]
            assert name in own or any(place.exists() for place in places), f"{page}: {name}"
            folder = name.rpartition("/")[0]
        elif re.fullmatch(r"\w+\.py", name):
            assert (ROOT / folder / name).exists(), f"{page}: {name}, in {folder}"


@pytest.mark.parametrize("page", PAGES)
def test_objects_that_are_named_exist(page: str) -> None:
    for name in _CODE.findall(_prose(page)):
        if _OBJECT.fullmatch(name):
            _resolve(name)


def _resolve(name: str) -> Any:
    """Import the longest module of a dotted name, then look up the rest."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"there is no {name}")


# --- README ---------------------------------------------------------------------------------------


def _first_column(title: str) -> set[str]:
    """Names in backticks in the first column of the README's table with that heading."""
    table = _text("README.md").split(f"\n| {title} |", 1)[1].split("\n\n", 1)[0]
    return {
        name for row in table.splitlines()[2:] for name in _CODE.findall(row.split(" | ", 1)[0])
    }


def _keys(value: Any, path: str) -> set[str]:
    """Paths of the leaves of a JSON object, with `[]` for the elements of a list of objects."""
    if path == "machine":
        return {path}
    if isinstance(value, dict):
        named = path in ("causes", "caches", "coherence", "kinds[].causes")
        return {
            leaf
            for key, inner in value.items()
            for leaf in _keys(inner, f"{path}.{'*' if named else key}".lstrip("."))
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {leaf for inner in value for leaf in _keys(inner, f"{path}[]")}
    return {path}


def test_every_number_of_the_json_object_is_explained() -> None:
    nodes = ["numa.nodes=2", "numa.remote_ns=50", "numa.link=48GB/s"]
    result = simulate(
        "toy-llama", "sapphire-rapids", cores=2, ids=[1, 2, 3], tokens=2, batch=2, overrides=nodes
    )
    result.races = [Race("tensor x, byte 0x0", "core 0 stores", "core 1 loads")]
    assert _first_column("key | what it is") == _keys(result.to_dict(), "")


def test_every_cause_is_explained() -> None:
    explained = _first_column("cause | an empty slot is booked here when")
    assert explained == {*CAUSES, "core: UNIT"}


def test_the_number_of_instructions() -> None:
    assert f"[{len(ROWS)} instructions](docs/isa.md)" in _text("README.md")


def test_every_page_is_listed() -> None:
    listed = _text("README.md").split("## Where things are documented", 1)[1]
    for page in ALL_PAGES:
        assert page == "README.md" or f"]({page})" in listed


def test_kernels_shown_are_the_files_in_docs_examples() -> None:
    asm = [block for block in blocks("README.md") if block.language == "asm"]
    (shown,) = [block.text for block in asm if not block.file]
    file = (ROOT / "docs" / "examples" / "scale.s").read_text(encoding="utf-8")
    assert file.endswith("\n\n" + shown)


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", _text("Makefile"), re.MULTILINE))
    used = set(re.findall(r"`?\bmake (\w+)`?", _text("README.md") + _text("ARCHITECTURE.md")))
    assert {"run", "test"} <= used & targets
    assert set(re.findall(r"`make (\w+)`", _text("ARCHITECTURE.md"))) <= targets


def test_the_first_load_of_the_first_kernel_is_worked_out_from_the_machine_file() -> None:
    """The README's sum, with the numbers of `teach`: issue in cycle 6, data in cycle 341."""
    machine = load_machine("teach")
    dram = machine.dram
    at_bank = 6 + machine.l1.hit_cycles + machine.l2.hit_cycles + dram.controller_ns
    assert at_bank == 35 < dram.trfc_ns
    data = dram.trfc_ns + dram.trcd_ns + dram.tcl_ns
    burst = 64 / dram.gigabytes_per_second
    assert data % burst == 0
    assert data + burst + machine.l1.fill_cycles == 341


def test_the_machine_files_shown_load(tmp_path: Path) -> None:
    shown = [block.text for block in blocks("docs/machines.md") if block.language == "toml"]
    assert len(shown) == 5
    for text in shown:
        file = tmp_path / "mine.toml"
        file.write_text(text, encoding="utf-8")
        load_machine(file)


def test_the_governor_file_shown_loads(tmp_path: Path) -> None:
    (shown,) = [block.text for block in blocks("docs/machines.md") if block.language == "csv"]
    file = tmp_path / "schedule.csv"
    file.write_text(shown, encoding="utf-8")
    assert len(load_schedule(file, cores=1)) == 2


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_is_well_formed_and_keeps_its_text_inside() -> None:
    picture = ElementTree.parse(Path(ROOT, "docs", "architecture.svg")).getroot()
    *_, width, height = (float(part) for part in picture.attrib["viewBox"].split())
    texts = [each for each in picture.iter() if each.tag.endswith("}text")]
    assert len(texts) > 20
    for text in texts:
        assert 0 < float(text.attrib["x"]) < width
        assert 0 < float(text.attrib["y"]) < height
    style = next(each.text for each in picture.iter() if each.tag.endswith("}style"))
    assert style is not None
    assert "prefers-color-scheme: dark" in style
