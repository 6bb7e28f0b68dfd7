"""A tenant moves to another shard (ADR 0016): fenced where it is, carried entry by entry, compared, admitted.

    directory: on its way ─► old engine: nothing more is decided ─► new engine takes in a copy of every entry
      ─► both stand the same ─► new engine: it lives here ─► webhooks ─► directory: it lives there
      ─► old engine: it lives there

Each step is durable before the next, and done again it changes nothing; so a move that was cut off anywhere is begun
again by the same command, and goes on. Until the new engine has taken in that the tenant lives there, the old shard has
all of it, and the move can be called off by moving it back.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from tallystick.blockfile.disk import SystemDisk
from tallystick.compose import directing, shards, texts, webhooks_moving
from tallystick.compose.directing import Engine
from tallystick.compose.journals import Place
from tallystick.compose.webhooks_moving import Seqs, Webhooks
from tallystick.errors import Corrupt, Invalid
from tallystick.records import carrying
from tallystick.records.carrying import Numbering, Rows
from tallystick.records.commands import COMMANDS_MAX
from tallystick.records.entries import CARRIED, WORK
from tallystick.records.placements import Home
from tallystick.settings import Settings

Progress = Callable[[int, int], None]
"""Called with how many entries of a journal were looked at, and of how many."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move."""

    tenant: int
    source: int
    to: int
    entries: int
    """Of the tenant, that the new shard has of the old one's."""


def move(settings: Settings, tenant: int, to: int, progress: Progress) -> Moved:
    """Move a tenant; it lives in shard `to` on return, durably. Engines of both shards and of shard 0 must run, and
    notifiers where webhooks are kept.

    Raises `Invalid` for what cannot be moved: then nothing has changed. `Unavailable` if one is away: then nothing of
    the tenant may be decided until the same move is done again, or it is moved back. `Corrupt` if the copy stands
    otherwise than the tenant did.
    """
    numbers = shards.there(settings.data)
    if to not in numbers:
        raise Invalid("shard", f"there is no shard {to}; there are {', '.join(map(str, numbers))}")
    home = directing.homes(settings).get(tenant, Home(0))
    source = home.shard
    with ExitStack() as stack:
        engines = {number: stack.enter_context(Engine(shards.of(settings, number))) for number in {0, source, to}}
        if source == to:
            _call_off(settings, tenant, home, engines[0], engines[to])
            return Moved(tenant, source, to, 0)
        old, new, on_way = shards.of(settings, source), shards.of(settings, to), Home(source, moving=True)
        here, there = engines[source].standing(tenant), engines[to].standing(tenant)
        webhooks = stack.enter_context(Webhooks(old, new, tenant)) if webhooks_moving.is_kept(old) else None
        # Only a tenant that was fenced where it was, and brought all it had, has arrived.
        arrived = here.home == on_way and there.home == Home(to) and there.accounts >= here.accounts
        if not arrived:
            if home.moving:
                _refuse_arrived(settings, tenant, {source, to})
            if there.accounts and there.home != on_way:
                raise Invalid("shard", f"tenant {tenant} has lived in shard {to} before; move it to another one")
            engines[to].place(tenant, on_way)
            engines[0].place(tenant, on_way)
            engines[source].place(tenant, on_way)
            if webhooks:
                webhooks.hold(_end(old))
            count = _carry(old, new, tenant, engines[to], progress)
            stands, copied = engines[source].standing(tenant), engines[to].standing(tenant)
            if stands.digest != copied.digest:
                raise Corrupt(f"tenant {tenant} stands otherwise in shard {to} than in shard {source}; move it back")
            texts.copy(old, new, tenant)
            engines[to].place(tenant, Home(to))
        else:
            count = 0
        if webhooks:
            webhooks.hold(_end(old))
            webhooks.carry(lambda: _copies(old, new, tenant, progress))
        engines[0].place(tenant, Home(to))
        engines[source].place(tenant, Home(to))
    return Moved(tenant, source, to, count)


def _call_off(settings: Settings, tenant: int, home: Home, directory: Engine, engine: Engine) -> None:
    """Let a tenant on its way live where it was; nothing if it lives there. Raises `Invalid` if it arrived already."""
    if not home.moving:
        return
    _refuse_arrived(settings, tenant, {home.shard})
    webhooks_moving.stay(shards.of(settings, home.shard), tenant)
    engine.place(tenant, Home(home.shard))
    directory.place(tenant, Home(home.shard))


def _refuse_arrived(settings: Settings, tenant: int, but: set[int]) -> None:
    """Raises `Invalid` if the tenant lives in a shard besides these, by what that knows: a move was nearly through."""
    for each in shards.all_of(settings):
        if each.shard in but:
            continue
        with Engine(each) as other:
            if other.standing(tenant).home == Home(each.shard):
                raise Invalid(
                    "shard", f"tenant {tenant} is in shard {each.shard} already; move it there, to finish that"
                )


def _of_tenant(settings: Settings, tenant: int, progress: Progress) -> Iterator[tuple[Rows, Rows]]:
    """Entries (`WORK`) and details of the tenant, block by block as they are durable now."""
    reader = Place.of(settings).reader(SystemDisk())
    try:
        end = reader.end()
        for block in reader.read(0) if end else ():
            if block.header.first >= end:
                break
            entries = block.entries.view(WORK)
            chosen = carrying.of_tenant(entries, tenant)
            if chosen.any():
                yield entries[chosen], block.details[chosen]
            progress(min(block.header.next, end), end)
    finally:
        reader.close()


def _carry(old: Settings, new: Settings, tenant: int, engine: Engine, progress: Progress) -> int:
    """Have the new engine take in what it lacks of the tenant's entries; returns how many there are in all."""
    there = [entries["seq"].copy() for entries, _ in _of_tenant(new, tenant, progress)]
    carried = np.concatenate(there) if there else np.empty(0, "<u8")
    numbering = Numbering()
    waiting: list[tuple[Rows, Rows]] = []
    size = 0

    def send() -> None:
        nonlocal waiting, size
        entries = np.concatenate([each for each, _ in waiting])
        details = np.concatenate([each for _, each in waiting])
        for some, private in carrying.blocks(entries, details):
            seqs = some["seq"].copy()
            first = engine.carry(tenant, *carrying.numbered(some, private, numbering))
            numbering.note(seqs, first + np.arange(len(seqs), dtype="<u8"))
        waiting, size = [], 0

    for entries, details in _of_tenant(old, tenant, progress):
        known = min(len(carried) - numbering.count, len(entries)) if not waiting else 0
        if known:
            seqs = entries["seq"][:known].copy()
            numbering.note(seqs, carried[numbering.count : numbering.count + known])
            entries, details = entries[known:], details[known:]
        if len(entries):
            waiting.append((entries, details))
            size += len(entries)
        if size >= COMMANDS_MAX:
            send()
    if waiting:
        send()
    if numbering.count < len(carried):
        raise Corrupt(f"shard {new.shard} has more entries of tenant {tenant} than shard {old.shard} ever had")
    return numbering.count


def _copies(old: Settings, new: Settings, tenant: int, progress: Progress) -> tuple[Seqs, Seqs]:
    """The places of the tenant's entries in the old journal, and of their copies in the new one."""
    there, carried = (
        np.concatenate([np.empty(0, "<u8"), *(rows["seq"][rows["version"] >= version] for rows, _ in found)])
        for found, version in ((_of_tenant(old, tenant, progress), 0), (_of_tenant(new, tenant, progress), CARRIED))
    )
    if len(there) != len(carried):
        raise Corrupt(f"shard {new.shard} has {len(carried)} copies of tenant {tenant}'s {len(there)} entries")
    return there, carried


def _end(settings: Settings) -> int:
    """The durable end of a shard's journal."""
    reader = Place.of(settings).reader(SystemDisk())
    try:
        return reader.end()
    finally:
        reader.close()
