"""Compiled code is kept under the hash of all it is made from; after warm-up nothing more is compiled."""

import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tallystick.compose import kernel_cache
from tallystick.compose.warm import warm
from tallystick.lab.shard import Shard
from tallystick.ledger import compiled as made
from tallystick.ledger import kernel
from tallystick.ledger.batches import batch
from tallystick.ledger.books import find_in_books
from tallystick.ledger.compiled import compiled, records, stop_compiling
from tallystick.records.commands import COMMAND
from tests.unit.ledger.typed_ir import Walk

interpreted = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")


def compiled_modules():
    """The files of every function that is compiled into a kernel."""
    warm()
    walk = Walk()
    for each in made._called_from_python:
        walk.kernel(each)
    names = {name.rpartition(".")[0] for name in walk.functions}
    return {Path(importlib.import_module(name).__file__) for name in names}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, which may be changed."""
    copy = tmp_path / "tallystick"
    shutil.copytree(kernel_cache.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernel_cache, "PACKAGE", copy)
    return copy


@interpreted
@pytest.mark.service
def test_a_change_in_any_compiled_source_changes_the_fingerprint(package):
    original = kernel_cache.PACKAGE
    real = Path(kernel_cache.__file__).resolve().parent.parent
    before = kernel_cache.fingerprint()
    modules = compiled_modules()
    assert {path.name for path in modules} >= {"u128.py", "kernel.py", "hashing.py", "idprobes.py", "requests.py"}
    for module in modules:
        path = original / module.relative_to(real)
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        assert kernel_cache.fingerprint() != before, path
        path.write_text(text)
    assert kernel_cache.fingerprint() == before


@pytest.mark.parametrize("source", ["statuses.py", "records/commands.py", "records/entries.py", "records/details.py"])
def test_a_change_in_constants_and_layouts_changes_the_fingerprint(package, source):
    before = kernel_cache.fingerprint()
    with (package / source).open("a") as file:
        file.write("\nCHANGED = 1\n")
    assert kernel_cache.fingerprint() != before


def test_other_sources_do_not_change_the_fingerprint(package):
    before = kernel_cache.fingerprint()
    (package / "gateway" / "app.py").write_text("")
    assert kernel_cache.fingerprint() == before


@pytest.mark.parametrize("library", ["numba", "np"])
def test_another_compiler_changes_the_fingerprint(monkeypatch, library):
    before = kernel_cache.fingerprint()
    monkeypatch.setattr(getattr(kernel_cache, library), "__version__", "0.0")
    assert kernel_cache.fingerprint() != before


@interpreted
def test_a_signature_nobody_warmed_raises_instead_of_compiling():
    warm()
    books = Shard().decider.bookkeeper.books
    commands = records(np.zeros(4, COMMAND))
    kernel.look_up(batch(commands), books)
    work = batch(commands)
    with pytest.raises(TypeError):
        kernel.look_up(work._replace(hashes=np.zeros(8, "<u8")[::2]), books)  # strided
    hashes = np.zeros(4, "<u8")
    hashes.flags.writeable = False
    with pytest.raises(TypeError):
        kernel.look_up(work._replace(hashes=hashes), books)  # read-only


@interpreted
def test_a_scalar_of_another_type_is_converted_and_nothing_is_compiled():
    warm()
    shard = Shard()
    before = list(find_in_books.signatures)
    assert find_in_books(shard.decider.bookkeeper.books, 1, 2, 0) == -1
    assert find_in_books.signatures == before


@interpreted
def test_a_kernel_that_was_not_warmed_is_named(monkeypatch):
    @compiled
    def forgotten(number):
        return number

    monkeypatch.setattr(made, "_called_from_python", [forgotten])
    with pytest.raises(RuntimeError, match="forgotten was not warmed"):
        stop_compiling()
    assert forgotten(5) == 5
    stop_compiling()
    with pytest.raises(TypeError):
        forgotten(np.zeros(1))
