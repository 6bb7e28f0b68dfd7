"""The guides do what they say: their shell runs in order, each page's in one shell against a running instance with a
tenant of its own, and where a block of JSON follows, that is what the shell block must have printed."""

import os
import socket

import pytest

from tallystick.client.http import Api
from tallystick.clock import system_entropy
from tallystick.gateway import auth
from tallystick.lab.instance import TENANT, Instance, pause
from tests.docs.pages import GUIDES, ROOT, blocks, relative
from tests.docs.test_snippets import LANGUAGES, run_block, run_shell

RUN_ELSEWHERE = {"production", "fail-over"}
"""The second one's command needs five servers of its own: tests/e2e/postgresql/test_bench_failover.py runs it."""
FIRST_PAYMENT = ROOT / "docs" / "first-payment.md"


def languages(page):
    return {block.language for block in blocks(page)}


@pytest.mark.parametrize("page", GUIDES, ids=relative)
def test_a_guide_uses_only_what_is_run_here(page):
    assert languages(page) <= LANGUAGES
    assert languages(page) & {"sh", "python"} or page.stem in RUN_ELSEWHERE


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{relative(page)}:{block.line}")
        for page in GUIDES
        for block in blocks(page)
        if block.language == "python"
    ],
)
def test_a_python_block_of_a_guide_runs(block, tmp_path):
    run_block(block, tmp_path, os.environ)


def test_the_first_payment_starts_a_platform_and_pays(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"TALLY_DATA": str(tmp_path / "data"), "TALLY_HTTP_PORT": port}
    printed = run_shell(FIRST_PAYMENT, tmp_path, port, environment)
    assert '"credits_posted":"1250"' in "".join("".join(printed).split()), "the balance after the one payment"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("pages") / "data", settings={"accounts_max": 10_000}) as running:
        running.open_accounts([1], limited=False)  # a backup wants a journal with something in it
        yield running


@pytest.fixture(scope="module")
def guide_keys(instance):
    """By guide, a key of a tenant of its own, so that all may use the same ids."""
    scopes, keys = [auth.READ, auth.PAY, auth.CONTROL], {}
    for tenant, page in enumerate(GUIDES, TENANT + 1):
        keys[page] = auth.make_key(system_entropy)
        path = instance.folder / "keys.json"
        auth.add_key(path, keys[page], tenant, page.stem, scopes, instance.clock.wall_ns())
    until_ns = instance.clock.monotonic_ns() + 20 * 10**9
    api = Api(instance.url, keys[GUIDES[-1]])
    while api.ask("POST", "/v1/accounts/lookup", b'{"ids": ["1"]}').status == 401:  # the gateway has yet to see them
        assert instance.clock.monotonic_ns() < until_ns
        pause(0.05)
    api.close()
    return keys


@pytest.mark.parametrize(
    "page", [page for page in GUIDES if page != FIRST_PAYMENT and "sh" in languages(page)], ids=relative
)
def test_the_shell_blocks_of_a_guide_run_and_print_what_follows_them(page, tmp_path, instance, guide_keys):
    environment = {"TALLY_DATA": str(instance.folder), "TALLY_API_KEY": guide_keys[page]}
    run_shell(page, tmp_path, str(instance.port), environment)
