"""Every block of code on every page does what the page says: Python is executed, shell runs against a real `tally up`
on a folder of its own, and where a block of JSON follows, that is what the shell block must have printed (`…` stands
for anything)."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tallystick.lab.instance import Instance
from tallystick.settings import Settings
from tests.docs.pages import GUIDES, PAGES, ROOT, blocks, relative

LANGUAGES = {"python", "sh", "json", "toml", "sql", "text", ""}
README = ROOT / "README.md"
WEBHOOKS = ROOT / "docs" / "webhooks.md"
WITH_PYTHON = [README, ROOT / "docs" / "queries.md", WEBHOOKS]
OVER_HTTP = [ROOT / "docs" / "payments.md", ROOT / "docs" / "sdk.md"]
"""Their Python finds a running instance by TALLY_URL and TALLY_API_KEY."""
POSTGRESQL = ROOT / "docs" / "postgresql.md"
"""Its SQL is run by tests/unit/projector/test_postgresql.py."""
WITH_SHELL = [README, WEBHOOKS, ROOT / "docs" / "shards.md"]
PORT = "7400"
MARK = "=== end of block ==="


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GUIDES], ids=relative)
def test_only_languages_that_are_tested_are_used(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES
    tested = {"python"} if page in WITH_PYTHON + OVER_HTTP else set()
    tested |= {"sql"} if page == POSTGRESQL else set()
    if page not in WITH_SHELL:
        assert not {block.language for block in blocks(page)} & {"python", "sh", "json", "sql"} - tested, (
            "test them here first"
        )


TOML = [block for page in PAGES for block in blocks(page) if block.language == "toml"]


@pytest.mark.parametrize("block", TOML, ids=lambda block: str(block.line))
def test_the_toml_blocks_are_files_of_settings(block, tmp_path, monkeypatch):
    (tmp_path / "tally.toml").write_text(block.text)
    monkeypatch.setenv("TALLY_CONFIG", str(tmp_path / "tally.toml"))
    found = Settings()
    for name, value in tomllib.loads(block.text).items():
        assert str(getattr(found, name)) == str(value)


def python_blocks(pages):
    return [
        pytest.param(block, id=f"{relative(page)}:{block.line}")
        for page in pages
        for block in blocks(page)
        if block.language == "python"
    ]


@pytest.mark.parametrize("block", python_blocks(WITH_PYTHON))
def test_a_python_block_runs(block, tmp_path):
    run_block(block, tmp_path, os.environ)


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("pages") / "data", settings={"accounts_max": 10_000}) as running:
        yield running


@pytest.mark.parametrize("block", python_blocks(OVER_HTTP))
def test_a_python_block_runs_against_an_instance(block, tmp_path, instance):
    run_block(block, tmp_path, {**os.environ, "TALLY_URL": instance.url, "TALLY_API_KEY": instance.key})


def run_block(block, folder, environment):
    assert "assert" in block.text  # else it could not fail for the right reason
    script = folder / "snippet.py"
    script.write_text(block.text, encoding="utf-8")
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", WITH_SHELL, ids=relative)
def test_the_shell_blocks_run_one_after_the_other_and_print_what_follows_them(page, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"TALLY_DATA": str(tmp_path / "data"), "TALLY_HTTP_PORT": port}
    printed = run_shell(page, tmp_path, port, environment)
    if page == README:
        assert '"credits_posted":"1250"' in "".join(printed[-2].split()), "the balance after the one payment"


def run_shell(page, folder, port, environment):
    """Run the page's shell blocks in one shell; returns what each printed, held against the JSON that follows it."""
    shown = [block for block in blocks(page) if block.language in ("sh", "json")]
    steps = [block for block in shown if block.language == "sh"]
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT"]
    for block in steps:
        script += [block.text.replace(PORT, port), f"echo; echo '{MARK}'"]
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TALLY_URL": f"http://127.0.0.1:{port}",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complained = shell.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGTERM)
        said, complained = shell.communicate(timeout=20)
        pytest.fail(f"no end: {said}\n{complained}")
    assert shell.returncode == 0, f"{said}\n{complained}"
    printed = said.split(MARK)[:-1]
    assert len(printed) == len(steps)
    for block, following in itertools.pairwise(shown):
        if (block.language, following.language) == ("sh", "json"):
            text = printed[steps.index(block)].strip()
            assert_like(json.loads(text), json.loads(following.text), f"{relative(page)}:{following.line}")
    return printed


def assert_like(found, shown, where):
    """Equal, but for `…`."""
    if shown == "…":
        assert found, where
    elif isinstance(shown, dict):
        assert set(found) == set(shown), f"{where}: {found}"
        for key, value in shown.items():
            assert_like(found[key], value, f"{where} {key}")
    elif isinstance(shown, list):
        assert len(found) == len(shown), f"{where}: {found}"
        for each, wanted in zip(found, shown, strict=True):
            assert_like(each, wanted, where)
    else:
        assert found == shown, f"{where}: {found}"
