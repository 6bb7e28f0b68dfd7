"""What every intake adapter must keep. Bind it so:

    class TestFileIntake(IntakeConformance):
        @pytest.fixture
        def open_intake(self, tmp_path):
            return lambda: FileIntake(tmp_path, SystemDisk(), clock, system_entropy, 16_777_216, retention_s=0)

`open_intake` opens the same store at each call, as another process would. One engine at a time receives: another is
opened only when the one before was closed, as the journal's lock would have it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random

import pytest

from tallystick.conformance.samples import command_bytes
from tallystick.conformance.travelling import Expecting
from tallystick.errors import Corrupt
from tallystick.intake.port import Intake, LaneId
from tallystick.records.blocks import CommandBlock
from tallystick.records.commands import COMMANDS_MAX

OpenIntake = Callable[[], Intake]
REPEATS = 333
"""More than any adapter takes in at once."""


def numbers(blocks: list[CommandBlock]) -> list[tuple[bytes, int]]:
    """Lane and number of each block."""
    return [(block.header.lane, block.header.first) for block in blocks]


class IntakeConformance:
    """Override `open_intake`."""

    @pytest.fixture
    def open_intake(self) -> OpenIntake:
        """Opens the store under test; every call opens the same one."""
        raise NotImplementedError("override the fixture open_intake")

    @pytest.fixture
    def another(self, open_intake: OpenIntake) -> Iterator[OpenIntake]:
        """Opens the store as another process has it open; all are closed at the end."""
        durable: dict[LaneId, int] = {}
        with ExitStack() as stack:

            def opened() -> Intake:
                intake = open_intake()
                stack.callback(intake.close)
                return Expecting(intake, durable)

            yield opened

    @pytest.fixture
    def gateway(self, another: OpenIntake) -> Intake:
        """The intake as a gateway has it open."""
        return another()

    @pytest.fixture
    def engine(self, another: OpenIntake) -> Intake:
        """The intake as the engine has it open."""
        return another()

    def test_nothing_waits_in_a_new_intake(self, engine: Intake) -> None:
        assert engine.receive({}, 1000, 8190) == []

    def test_a_submitted_block_is_received_whole(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        assert lane.submit(command_bytes(3, request_id=9)) == 1
        (block,) = engine.receive({}, 1000, 8190)
        assert (block.header.lane, block.header.first, block.header.count) == (lane.id, 1, 3)
        assert block.commands.tobytes() == command_bytes(3, request_id=9)

    def test_what_is_received_cannot_be_written_to(self, gateway: Intake, engine: Intake) -> None:
        gateway.open_lane(control=False).submit(command_bytes(1))
        (block,) = engine.receive({}, 1000, 8190)
        with pytest.raises(ValueError, match="read-only"):
            block.commands["tenant"] = 2

    def test_the_submitted_buffer_may_be_used_again(self, gateway: Intake, engine: Intake) -> None:
        buffer = bytearray(command_bytes(2))
        gateway.open_lane(control=False).submit(buffer)
        buffer[:] = bytes(len(buffer))
        assert engine.receive({}, 1000, 8190)[0].commands.tobytes() == command_bytes(2)

    def test_a_block_of_the_largest_size_goes_through(self, gateway: Intake, engine: Intake) -> None:
        gateway.open_lane(control=False).submit(command_bytes(COMMANDS_MAX))
        (block,) = engine.receive({}, 1000, 100)
        assert block.header.count == COMMANDS_MAX

    @pytest.mark.parametrize("size", [0, 1, 255, 257, (COMMANDS_MAX + 1) * 256])
    def test_what_is_no_block_is_refused_and_the_lane_goes_on(self, gateway: Intake, engine: Intake, size: int) -> None:
        lane = gateway.open_lane(control=False)
        with pytest.raises(ValueError, match="a command block holds"):
            lane.submit(bytes(size))
        assert engine.receive({}, 1000, 8190) == []
        assert lane.submit(command_bytes(1)) == 1

    def test_blocks_of_a_lane_come_in_order_numbered_from_1(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        assert [lane.submit(command_bytes(1)) for _ in range(20)] == list(range(1, 21))
        assert numbers(engine.receive({}, 1000, 8190)) == [(lane.id, number) for number in range(1, 21)]

    def test_a_block_is_given_again_until_its_position_is_named(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        for request_id in range(3):
            lane.submit(command_bytes(1, request_id))
        assert [first for _, first in numbers(engine.receive({lane.id: 1}, 1000, 8190))] == [2, 3]
        assert [first for _, first in numbers(engine.receive({lane.id: 1}, 1000, 8190))] == [2, 3]
        assert [first for _, first in numbers(engine.receive({lane.id: 0}, 1000, 8190))] == [1, 2, 3]
        assert engine.receive({lane.id: 3}, 1000, 8190) == []

    def test_what_is_decided_and_makes_no_block_does_not_keep_the_rest_away(
        self, gateway: Intake, engine: Intake
    ) -> None:
        """Nothing but repeated requests, for hundreds of blocks: no position of theirs comes to the journal."""
        lane = gateway.open_lane(control=False)
        for _ in range(REPEATS):
            lane.submit(command_bytes(1))
        positions: dict[LaneId, int] = {}
        for _ in range(20_000):  # which ends, should they not come
            for block in engine.receive(positions, 1000, 16):
                assert (block.header.lane, block.header.first) == (lane.id, positions.get(lane.id, 0) + 1)
                positions[lane.id] = block.header.first
            if positions.get(lane.id) == REPEATS:
                break
        assert positions == {lane.id: REPEATS}
        engine.done(positions)
        number = lane.submit(command_bytes(1, request_id=2))
        assert numbers(engine.receive(positions, 1000, 16)) == [(lane.id, number)]

    def test_a_block_submitted_later_is_received(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        position = 0
        for request_id in range(10):
            number = lane.submit(command_bytes(1, request_id))
            assert numbers(engine.receive({lane.id: position}, 1000, 8190)) == [(lane.id, number)]
            position = number

    def test_a_lane_opened_later_is_received(self, gateway: Intake, engine: Intake) -> None:
        first = gateway.open_lane(control=False)
        first.submit(command_bytes(1))
        assert len(engine.receive({}, 1000, 8190)) == 1
        second = gateway.open_lane(control=False)
        second.submit(command_bytes(1))
        assert numbers(engine.receive({first.id: 1}, 1000, 8190)) == [(second.id, 1)]

    def test_control_lanes_come_first(self, gateway: Intake, engine: Intake) -> None:
        pay, control = gateway.open_lane(control=False), gateway.open_lane(control=True)
        pay.submit(command_bytes(1))
        control.submit(command_bytes(1))
        pay.submit(command_bytes(1))
        assert numbers(engine.receive({}, 1000, 8190)) == [(control.id, 1), (pay.id, 1), (pay.id, 2)]

    def test_no_more_than_control_max_is_taken_from_control_lanes(self, gateway: Intake, engine: Intake) -> None:
        pay, control = gateway.open_lane(control=False), gateway.open_lane(control=True)
        for _ in range(3):
            control.submit(command_bytes(4))
        pay.submit(command_bytes(5))
        assert numbers(engine.receive({}, 10, 8190)) == [(control.id, 1), (control.id, 2), (pay.id, 1)]

    def test_no_more_than_commands_max_is_taken_in_all(self, gateway: Intake, engine: Intake) -> None:
        pay, control = gateway.open_lane(control=False), gateway.open_lane(control=True)
        control.submit(command_bytes(4))
        for _ in range(3):
            pay.submit(command_bytes(3))
        assert numbers(engine.receive({}, 1000, 10)) == [(control.id, 1), (pay.id, 1), (pay.id, 2)]

    def test_a_steady_stream_of_control_does_not_starve_a_full_payment_block(
        self, gateway: Intake, engine: Intake
    ) -> None:
        pay, control = gateway.open_lane(control=False), gateway.open_lane(control=True)
        pay.submit(command_bytes(10))
        control.submit(command_bytes(1))
        assert numbers(engine.receive({}, 10, 10)) == [(control.id, 1)]
        control.submit(command_bytes(1))
        assert numbers(engine.receive({control.id: 1}, 10, 10)) == [(pay.id, 1)]
        assert numbers(engine.receive({control.id: 1, pay.id: 1}, 10, 10)) == [(control.id, 2)]

    @pytest.mark.parametrize("control", [False, True])
    def test_the_first_block_is_given_even_if_it_alone_passes_the_limit(
        self, gateway: Intake, engine: Intake, control: bool
    ) -> None:
        lane = gateway.open_lane(control)
        for _ in range(2):
            lane.submit(command_bytes(12))
        assert numbers(engine.receive({}, 10, 10)) == [(lane.id, 1)]

    def test_payment_lanes_are_served_in_turn(self, gateway: Intake, engine: Intake) -> None:
        lanes = [gateway.open_lane(control=False) for _ in range(3)]
        for lane in lanes:
            for _ in range(30):
                lane.submit(command_bytes(2))
        positions: dict[bytes, int] = {}
        for _ in range(5):
            for id, number in numbers(engine.receive(positions, 1000, 15)):
                positions[id] = number
        assert sum(positions.values()) == 35
        assert max(positions.values()) - min(positions[lane.id] for lane in lanes) <= 1

    def test_two_open_lanes_are_never_the_same(self, gateway: Intake, another: OpenIntake) -> None:
        other = another()
        ids = {gateway.open_lane(False).id, other.open_lane(False).id, gateway.open_lane(True).id}
        assert len(ids) == 3

    def test_a_closed_lane_is_taken_over_and_numbered_on(self, gateway: Intake, another: OpenIntake) -> None:
        lane = gateway.open_lane(control=False)
        lane.submit(command_bytes(1))
        lane.close()
        taken_over = another().open_lane(control=False)
        assert (taken_over.id, taken_over.control, taken_over.submit(command_bytes(1))) == (lane.id, False, 2)

    def test_a_closed_lane_is_not_taken_over_for_the_other_sort(self, gateway: Intake) -> None:
        lane = gateway.open_lane(control=True)
        lane.close()
        other = gateway.open_lane(control=False)
        assert other.id != lane.id
        assert (lane.control, other.control) == (True, False)

    def test_another_engine_goes_on_where_the_first_ended(self, gateway: Intake, another: OpenIntake) -> None:
        lane = gateway.open_lane(control=False)
        for request_id in range(5):
            lane.submit(command_bytes(1, request_id))
        first = another()
        assert len(first.receive({}, 1000, 8190)) == 5
        first.close()
        assert numbers(another().receive({lane.id: 3}, 1000, 8190)) == [(lane.id, 4), (lane.id, 5)]

    def test_a_position_past_the_end_of_its_lane_is_corrupt(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        lane.submit(command_bytes(1))
        with pytest.raises(Corrupt):
            engine.receive({lane.id: 2}, 1000, 8190)

    def test_a_journaled_position_of_a_missing_lane_is_corrupt(self, engine: Intake) -> None:
        with pytest.raises(Corrupt):
            engine.receive({b"nobody has me...": 1}, 1000, 8190)

    def test_a_lane_nothing_was_taken_from_may_be_missing(self, engine: Intake) -> None:
        assert engine.receive({b"nobody has me...": 0}, 1000, 8190) == []

    def test_what_is_done_does_not_come_back_and_the_rest_does(self, gateway: Intake, engine: Intake) -> None:
        lane = gateway.open_lane(control=False)
        for request_id in range(4):
            lane.submit(command_bytes(1, request_id))
        engine.receive({}, 1000, 8190)
        engine.done({lane.id: 2})
        assert numbers(engine.receive({lane.id: 2}, 1000, 8190)) == [(lane.id, 3), (lane.id, 4)]
        assert lane.submit(command_bytes(1)) == 5

    @pytest.mark.parametrize("seed", range(10))
    def test_whatever_is_submitted_is_received_once_and_in_order(self, another: OpenIntake, seed: int) -> None:
        random = Random(seed)
        gateway, engine = another(), another()
        lanes = [gateway.open_lane(control=random.random() < 0.3) for _ in range(3)]
        submitted: dict[bytes, list[bytes]] = {lane.id: [] for lane in lanes}
        received: dict[bytes, list[bytes]] = {lane.id: [] for lane in lanes}
        positions: dict[bytes, int] = {}
        for step in range(120):
            lane = random.choice(lanes)
            if random.random() < 0.5:
                commands = command_bytes(random.randint(1, 9), request_id=step)
                lane.submit(commands)
                submitted[lane.id].append(commands)
            else:
                for block in engine.receive(positions, random.randint(1, 20), random.randint(1, 40)):
                    assert block.header.first == positions.get(block.header.lane, 0) + 1
                    positions[block.header.lane] = block.header.first
                    received[block.header.lane].append(block.commands.tobytes())
            if random.random() < 0.1:
                engine.done(positions)
            if random.random() < 0.05:
                engine.close()
                engine = another()
        while blocks := engine.receive(positions, 1000, 8190):
            for block in blocks:
                positions[block.header.lane] = block.header.first
                received[block.header.lane].append(block.commands.tobytes())
        assert received == submitted
