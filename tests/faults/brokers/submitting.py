"""A gateway's thread against a broker that dies: submits until it is stopped, in another lane after each doubt."""

import threading
import time
from dataclasses import dataclass, field

from tallystick.conformance.samples import command_bytes
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.intake.port import Intake


@dataclass
class Submitting:
    """Submits numbered requests; `acknowledged` are those whose `submit` returned, `doubted` those that raised;
    `refused` counts where nothing was sent."""

    intake: Intake
    acknowledged: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    doubted: list[int] = field(default_factory=list)
    refused: int = 0
    times: list[float] = field(default_factory=list)
    """When each was acknowledged, by the monotonic clock."""
    failure: BaseException | None = None
    enough: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self._lane = self.intake.open_lane(False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            request_id = 0
            while not self.enough.is_set():
                request_id += 1
                self._submit(request_id)
        except BaseException as error:
            self.failure = error

    def _submit(self, request_id):
        while not self.enough.is_set():
            try:
                lane = self._lane = self._lane or self.intake.open_lane(False)
                number = lane.submit(command_bytes(1, request_id))
            except OutcomeUnknown:
                self.doubted.append(request_id)
                lane.close()
                self._lane = None
            except Unavailable:
                self.refused += 1
                self.enough.wait(0.1)
            else:
                self.acknowledged[request_id] = (lane.id, number)
                self.times.append(time.monotonic())
                return

    def wait_for(self, count, seconds=60.0):
        """Until `count` requests were acknowledged."""
        self._wait_until(lambda: len(self.acknowledged) >= count, seconds)

    def wait_for_doubt(self, seconds=60.0):
        """Until the outcome of one more was unknown or one could not be sent."""
        doubted = len(self.doubted) + self.refused
        self._wait_until(lambda: len(self.doubted) + self.refused > doubted, seconds)

    def _wait_until(self, reached, seconds):
        deadline = threading.Event()
        for _ in range(int(seconds / 0.02)):
            if reached() or self.failure:
                break
            deadline.wait(0.02)
        assert self.failure is None, self.failure
        assert reached()

    def longest_gap_s(self, since):
        """Between two acknowledgements one after the other, the later of them after the time `since`."""
        gaps = zip(self.times, self.times[1:], strict=False)
        return max(later - earlier for earlier, later in gaps if later > since)

    def stop(self):
        self.enough.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure


def received(engine, positions, acknowledged):
    """Everything the intake holds: by lane, the number and request id of each block, in order."""
    wanted = {}
    for lane, number in acknowledged.values():
        wanted[lane] = max(number, wanted.get(lane, 0))
    found = {}
    deadline = time.monotonic() + 60
    while any(positions.get(lane, 0) < number for lane, number in wanted.items()):
        assert time.monotonic() < deadline, "an acknowledged block does not come"
        engine.expect(wanted, 0.1)
        for block in engine.receive(positions, 1000, 8190):
            lane = block.header.lane
            assert block.header.first > positions.get(lane, 0)
            positions[lane] = block.header.first
            found.setdefault(lane, []).append((block.header.first, int(block.commands["request_id_lo"][0])))
        engine.done(positions)
    return found


def check(found, submitting):
    """Nothing acknowledged is lost or elsewhere, none is there twice but where its first outcome was unknown."""
    places = {}
    for lane, blocks in found.items():
        for number, request_id in blocks:
            places.setdefault(request_id, []).append((lane, number))
    for request_id, place in submitting.acknowledged.items():
        assert place in places.get(request_id, []), f"request {request_id} was acknowledged, and is lost"
    twice = {request_id for request_id, found in places.items() if len(found) > 1}
    assert twice <= set(submitting.doubted)
