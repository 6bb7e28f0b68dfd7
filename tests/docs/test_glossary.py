"""One word, one meaning: what GLOSSARY.md's last column forbids is no name in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SOURCE = ROOT / "src" / "tallystick"
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# Words that are right in another sense elsewhere (a lock is released, a future settled) are forbidden where money is.
MONEY = ("ledger/", "records/", "statuses.py", "money.py", "answers/", "gateway/shapes.py", "gateway/routes/")
ONLY_WITH_MONEY = {"hold", "release", "settle"}
# Names that are not ours to choose.
NAMES_ALLOWED = re.compile(
    r"_?user(_data.*)?|(.*_with_different|transfer|debit_account|credit_account)_user_data_\d+|user_agent",
    re.IGNORECASE,
)


def forbidden_words():
    rows = re.findall(r"^\| (?!word)[^|]+\|[^|]+\| ([^|]*) \|$", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    return {word.strip() for row in rows for word in row.split(",") if word.strip()}


@cache
def words_given(path):
    """Every name that the module itself chooses, with the words in it."""
    return {name: {part.lower() for part in _WORD.findall(name)} for name in set(names_given(path))}


def names_given(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
    yield path.stem


def forms(word):
    """The word as it may stand in a name."""
    return {word, f"{word}s", f"{word}es", f"{word}d", f"{word}ed", word.removesuffix("e") + "ing"}


def violations(word, paths):
    return sorted(
        f"{path.relative_to(SOURCE).as_posix()}: {name}"
        for path in paths
        for name, words in words_given(path).items()
        if forms(word) & words and not NAMES_ALLOWED.fullmatch(name)
    )


def test_the_glossary_forbids_what_is_looked_for():
    assert {"transaction", "user", "decline", "undo", *ONLY_WITH_MONEY} <= forbidden_words()


@pytest.mark.parametrize("word", sorted(forbidden_words()))
def test_a_forbidden_word_names_nothing_in_the_code(word):
    places = MONEY if word in ONLY_WITH_MONEY else ("",)
    paths = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).as_posix().startswith(places)]
    assert violations(word, paths) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("def open_transaction(): ...", "transaction"),
        ("class TransactionLog: ...", "transaction"),
        ("user_id = 1", "user"),
        ("held.holds = 2", "hold"),
        ("def settling(): ...", "settle"),
        ("def f(declined): ...", "decline"),
    ],
)
def test_the_search_finds_a_forbidden_name(tmp_path, line, word):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert any(forms(word) & words for words in words_given(path).values())


def test_no_module_is_a_drawer():
    drawers = {"utils", "util", "helpers", "common", "misc", "tools", "base"}
    assert [path for path in SOURCE.rglob("*.py") if path.stem in drawers] == []


def test_every_word_of_the_table_stands_once():
    words = re.findall(r"^\| ([^|]+) \|", Path(ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    assert len(words) == len(set(words)) > 30
