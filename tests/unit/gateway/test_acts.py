"""Acts at the gateway: noted before an answer leaves, or before a change is made; else neither happens."""

import asyncio

import pytest

from tallystick.acts.entries import shown
from tallystick.acts.port import ACCESS, CONTROL
from tallystick.errors import Unavailable
from tallystick.gateway.app import App
from tallystick.gateway.auth import READ, Keys, Principal, lacking
from tallystick.gateway.calls import Exchange, Route, Service
from tallystick.gateway.metrics import Metrics
from tallystick.lab.simulated_clock import SimulatedClock

PRINCIPAL = Principal(7, "clerk", frozenset({READ}), "key:0123456789abcdef")


class Notebook:
    """Keeps what it is told, in order with what the handler did; or cannot."""

    def __init__(self, broken=False):
        self.story, self.broken = [], broken

    async def append(self, log, entry):
        await asyncio.sleep(0)
        if self.broken:
            raise Unavailable("acts cannot be noted now")
        self.story.append((log, shown(entry)))


def exchange_with(tmp_path, notebook, log, problem=None, fails=None):
    async def run():
        service = Service(2.0, None, None, Metrics(), SimulatedClock(), {}, None, notebook, None, {}, None)
        app = App(service, Keys(tmp_path / "keys.json"), bytes)

        async def handle(call):
            notebook.story.append("done")
            if fails is not None:
                raise fails
            return 200, "text/plain", (), b"personal"

        exchange = Exchange("x", {})
        exchange.route = Route("GET", "/v1/people/{id}", "people", handle, "", READ, acts=log)
        exchange.principal, exchange.arguments, exchange.problem = PRINCIPAL, ("4711",), problem
        said = asyncio.get_running_loop().create_future()
        app.answer(exchange, b"", said.set_result)
        answer = await said
        notebook.story.append("said")
        return answer

    return asyncio.run(run())


def test_a_read_is_noted_before_it_is_answered(tmp_path):
    notebook = Notebook()
    assert exchange_with(tmp_path, notebook, ACCESS)[3] == b"personal"
    done, (log, act), said = notebook.story
    assert (done, log, said) == ("done", ACCESS, "said")
    assert (act["act"], act["by"], act["target"], act["tenant"], act["result"]) == (
        "people", PRINCIPAL.id, "4711", "7", "200",
    )  # fmt: skip
    assert "clerk" not in str(act)


def test_a_read_that_cannot_be_noted_is_not_answered(tmp_path):
    """Attack 15, at the gateway."""
    answer = exchange_with(tmp_path, Notebook(broken=True), ACCESS)
    assert answer[0] == 503
    assert b"personal" not in answer[3]


def test_a_change_is_noted_before_it_is_made_and_else_not_made(tmp_path):
    notebook = Notebook()
    assert exchange_with(tmp_path, notebook, CONTROL)[0] == 200
    assert [notebook.story[0][1]["result"], notebook.story[1]] == ["asked", "done"]
    broken = Notebook(broken=True)
    assert exchange_with(tmp_path, broken, CONTROL)[0] == 503
    assert broken.story == ["said"]


@pytest.mark.parametrize("forbidden", [True, False])
def test_what_was_refused_is_noted_too(tmp_path, forbidden):
    notebook = Notebook()
    problem, fails = (lacking(READ), None) if forbidden else (None, Unavailable("nobody there"))
    assert exchange_with(tmp_path, notebook, ACCESS, problem, fails)[0] == (403 if forbidden else 503)
    acts = [part[1] for part in notebook.story if isinstance(part, tuple)]
    assert [act["result"] for act in acts] == ["403" if forbidden else "503"]
