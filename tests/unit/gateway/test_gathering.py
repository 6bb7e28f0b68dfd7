"""What one turn of the loop reads is answered together: after all of it, in order, and none for want of another."""

import asyncio

import pytest

from tallystick.gateway.app import App
from tallystick.gateway.auth import PAY, Keys
from tallystick.gateway.calls import Exchange, Route, Service
from tallystick.gateway.metrics import Metrics
from tallystick.lab.simulated_clock import SimulatedClock


class World:
    """An application whose one route tells `story` what it is asked, and fails as `broken` says."""

    def __init__(self, tmp_path, gathered=True):
        service = Service(2.0, None, None, Metrics(), SimulatedClock(), {}, None, None, None, {}, None)
        self.app = App(service, Keys(tmp_path / "keys.json"), bytes)
        self.route = Route("POST", "/v1/transfers", "transfers", self.handle, "", PAY, {"": None}, gathered=gathered)
        self.story, self.broken = [], {}
        self.loop_failures = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.loop_failures.append(context))

    def read(self, name):
        """As a connection does that has read a whole request."""
        self.story.append(f"read {name}")
        exchange = Exchange(name, {})
        exchange.route = self.route
        self.app.answer(exchange, name.encode(), lambda answer: self.story.append(f"{answer[0]} {name}"))

    def handle(self, call):
        self.story.append(f"asked {call.body.decode()}")
        if error := self.broken.get(call.body.decode()):
            raise error
        return self.told()

    async def told(self):
        return 200, "text/plain", (), b""


def run(scenario):
    asyncio.run(scenario())


async def turns(count=4):
    for _ in range(count):
        await asyncio.sleep(0)


def test_all_of_a_turn_is_read_before_any_of_it_is_answered(tmp_path):
    async def scenario():
        world = World(tmp_path)
        for name in "abc":
            world.read(name)
        await turns()
        assert world.story[:6] == ["read a", "read b", "read c", "asked a", "asked b", "asked c"]
        assert sorted(world.story[6:]) == ["200 a", "200 b", "200 c"]

    run(scenario)


def test_other_routes_are_answered_at_once(tmp_path):
    async def scenario():
        world = World(tmp_path, gathered=False)
        world.read("a")
        assert world.story == ["read a", "asked a"]
        await turns()

    run(scenario)


@pytest.mark.parametrize("pause", range(6))
def test_whoever_comes_some_turns_later_is_answered_too(tmp_path, pause):
    async def scenario():
        world = World(tmp_path)
        world.read("a")
        await turns(pause)
        world.read("b")
        await turns()
        assert {"200 a", "200 b"} <= set(world.story)

    run(scenario)


def test_a_turn_that_follows_is_gathered_before_a_lane_looks(tmp_path):
    """What a lane asks of the loop two turns after a payment comes after the payments that are read by then."""

    async def scenario():
        loop, world = asyncio.get_running_loop(), World(tmp_path)
        handle = world.handle

        def handle_and_ask(call):
            answer = handle(call)
            if call.body == b"a":
                loop.call_soon(loop.call_soon, lambda: world.story.append("the lane looks"))
            return answer

        world.route = Route("POST", "/v1/transfers", "transfers", handle_and_ask, "", PAY, {"": None}, gathered=True)
        world.read("a")
        await turns(2)
        world.read("b")
        await turns()
        assert world.story.index("asked b") < world.story.index("the lane looks")

    run(scenario)


def test_a_fault_in_answering_one_takes_none_of_the_others_with_it(tmp_path):
    async def scenario():
        world = World(tmp_path)
        world.broken["b"] = GeneratorExit()  # nothing that the application catches
        for name in "abc":
            world.read(name)
        await turns()
        assert {"200 a", "200 c"} <= set(world.story)
        assert len(world.loop_failures) == 1

    run(scenario)
