"""A tenant's webhooks move along with it (ADR 0016): the notifiers of both shards are asked, who alone have the tables,
in files as in a database.

    old: hold, until all that was decided there was looked at ─► [the tenant lives in the new shard]
      ─► old: take, new: bring, page by page ─► old: forget ─► [the directory says so]

Between the brackets no gateway serves the tenant. Each step done again changes nothing.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.answers.addresses import address
from tallystick.clock import SystemClock
from tallystick.compose import services
from tallystick.compose.lines import ANSWER_S, Line
from tallystick.errors import Corrupt, Unavailable
from tallystick.inquiries import wire
from tallystick.notifier import travelling
from tallystick.notifier.schema import FILE
from tallystick.notifier.travelling import Belongings, Operation
from tallystick.settings import Settings

NAME = "notifier"
LOOK_S, LOOKS_MAX = 0.05, 1_200
"""How often to ask whether the old notifier is through, and how often at most: a minute."""

Seqs = npt.NDArray[np.uint64]
Copies = Callable[[], tuple[Seqs, Seqs]]
"""The places of a tenant's entries in the old journal, and of their copies in the new one."""


def is_kept(settings: Settings) -> bool:
    """Whether the shard's notifier ever kept anything: where none did, nobody has subscribed.

    Raises `Unavailable` if that cannot be known now.
    """
    if settings.services == services.FILES:
        return settings.path(*FILE).exists()
    return NAME in services.kept_there(settings)


class Notifier(Line):
    """The notifier of one shard, to be asked something."""

    def __init__(self, settings: Settings) -> None:
        """Raises `Unavailable` if it does not run."""
        name = f"the notifier of shard {settings.shard}"
        lacking = f"{name} does not run, which has its tenants' webhooks; `tally up` starts it"
        super().__init__(address(settings.data, NAME).path, name, lacking)
        self._clock = SystemClock()
        self._number = 0

    def ask(self, operation: str, tenant: int, body: bytes) -> bytes:
        """What it answers. Raises `Invalid` as it does, and `Unavailable`: it may have been done then."""
        self._number += 1
        deadline_ns = self._clock.monotonic_ns() + round(ANSWER_S * 1e9)
        for one in self.asked(wire.encode(wire.Inquiry(self._number, operation, tenant, deadline_ns, body))):
            found = wire.decode_reply(one)
            if found.number == self._number:
                return self._told(found)
        raise AssertionError("unreachable")

    def _told(self, reply: wire.Reply) -> bytes:
        try:
            return wire.answered(reply)
        except Unavailable as error:
            raise Unavailable(f"{self.name}: {error}") from error


class Webhooks:
    """The notifiers of the shard that a tenant leaves and of the one where it goes. Leave the context to let go."""

    def __init__(self, old: Settings, new: Settings, tenant: int) -> None:
        """Raises `Unavailable` if one does not run, `Invalid` if it is too old for this."""
        self._tenant = tenant
        self._shard = old.shard
        with ExitStack() as stack:
            self._old, self._new = (stack.enter_context(Notifier(each)) for each in (old, new))
            for each in (self._old, self._new):
                each.ask(Operation.STAY, tenant, b"")
            self._held = stack.pop_all()

    def hold(self, until_seq: int) -> None:
        """On return the old notifier has looked at all entries before, and answers the tenant no more.

        Raises `Unavailable` if it does not get so far.
        """
        asked = travelling.encode(until_seq)
        for _ in range(LOOKS_MAX):
            if msgspec.msgpack.decode(self._old.ask(Operation.HOLD, self._tenant, asked), type=bool):
                return
            threading.Event().wait(LOOK_S)
        raise Unavailable(
            f"the notifier of shard {self._shard} does not get to entry {until_seq}; see its log, and do it again"
        )

    def carry(self, copies: Copies) -> None:
        """Bring all that the tenant has to the new notifier; then the old one has nothing of it. Raises `Corrupt`."""
        page = self._take(None)
        if not page:
            return  # it had nothing, or was brought before
        old, new = copies()
        while True:
            _translate(page, old, new)
            self._new.ask(Operation.BRING, self._tenant, travelling.encode(page))
            if page.next is None:
                break
            page = self._take(page.next)
        self._old.ask(Operation.FORGET, self._tenant, b"")

    def _take(self, after: int | None) -> Belongings:
        return travelling.decode(self._old.ask(Operation.TAKE, self._tenant, travelling.encode(after)))

    def __enter__(self) -> "Webhooks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def stay(settings: Settings, tenant: int) -> None:
    """Have the shard's notifier answer a tenant again that it held. Raises `Unavailable`."""
    try:
        notifier = Notifier(settings)
    except Unavailable:
        return  # what it held it does not know any more when it comes back
    with notifier:
        notifier.ask(Operation.STAY, tenant, b"")


def _translate(page: Belongings, old: Seqs, new: Seqs) -> None:
    """Make the positions in a page those of the new journal. Raises `Corrupt`."""
    end = int(new[-1]) + 1 if len(new) else 0

    def there(position: int) -> int:
        """Where the first of the tenant's entries from `position` on stands; behind the copies if there is none."""
        at = int(np.searchsorted(old, np.uint64(position)))
        return int(new[at]) if at < len(new) else end

    for each in page.subscriptions:
        each.since = there(each.since)
        each.behind = end if each.behind is None else there(each.behind)
        each.replays = [(there(first), there(until)) for first, until in each.replays]
    for delivered in page.deliveries:
        if delivered.seq is not None:
            at = int(np.searchsorted(old, np.uint64(delivered.seq)))
            if at == len(old) or int(old[at]) != delivered.seq:
                raise Corrupt(f"a webhook tells of entry {delivered.seq}, which is none of this tenant's")
            delivered.seq = int(new[at])
