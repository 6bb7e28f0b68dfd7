"""Batches decided by engine and model, held against each other; and what fails, shortened until it can be read."""

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tallystick.lab import agreement
from tallystick.lab.model import Model
from tallystick.lab.model.events import events_of
from tallystick.lab.scenario_words import packed
from tallystick.lab.shard import Shard
from tallystick.records.commands import COMMAND, EVENTS, Kind, frame
from tests.properties.random_requests import REVIEW_TIMEOUT_S, verdict_of

SHORTENING_S = 60
_FLAGS_WORD = {
    Kind.TRANSFER: 14,
    Kind.ACCOUNT: 14,
    Kind.CONTROL: 6,
}
"""Of the event's 16 words the one whose upper 16 bits are the flags."""


def compare_results(batch, decided, predicted):
    """Status, time and whether it was told before, of every command."""
    found = [(one.timestamp, int(one.status), int(one.replayed)) for one in predicted]
    if decided != found:
        at = next(at for at, (ours, theirs) in enumerate(zip(decided, found, strict=True)) if ours != theirs)
        command = np.concatenate(batch)[at]
        raise AssertionError(f"ledger {decided[at]}, model {predicted[at]}, command {at} of its batch: {command}")


@dataclass
class Pair:
    """An engine and its model. `restart_every`: batches after which the engine begins again from its journal."""

    shard: Shard
    model: Model
    restart_every: int = 0
    batches: int = 0

    def decide(self, now, batch):
        """Decide by both. Returns the results; raises `AssertionError` where the two differ."""
        decided = self.shard.decide(batch, now)
        compare_results(batch, decided, self.model.decide(batch, now))
        agreement.compare_entries(self.shard, self.model)
        self.batches += 1
        if self.batches % 7 == 0:
            agreement.compare_books(self.shard, self.model)
        if self.restart_every and self.batches % self.restart_every == 0:
            self.shard.restart()
            agreement.compare_books(self.shard, self.model)
        return decided


def pair(window_ids=16, accounts_max=8192, pendings_max=1 << 16, restart_every=0):
    """A fresh pair, screened alike."""
    screened = {"verdict_of": verdict_of, "review_timeout": REVIEW_TIMEOUT_S}
    return Pair(
        Shard(accounts_max, window_ids, pendings_max=pendings_max, **screened),
        Model(accounts_max, pendings_max, **screened),
        restart_every,
    )


def run(batches, **options):
    """Decide all batches, (now, requests) each. How often each (kind, status) was met, and each kind of entry."""
    batches, met, done = iter(batches), Counter(), []
    both = pair(**options)
    for now, batch in batches:
        done.append((now, batch))
        with shortened(done, options):
            decided = both.decide(now, batch)
        kinds = np.concatenate(batch).view(COMMAND)["kind"].tolist() if batch else []
        met.update((kind, status) for kind, (_, status, _) in zip(kinds, decided, strict=True))
        met.update(("entry", each.kind) for each in both.model.entries)
    with shortened(done, options):
        agreement.compare_books(both.shard, both.model)
        agreement.compare_transfers(both.shard, both.model)
    return met


@contextmanager
def shortened(history, options):
    """Where engine and model differ, shorten the history and tell it with the error."""
    try:
        yield
    except Exception as error:
        short = shorten(history, options)
        error.add_note(f"a shorter history that ends so, for `agreeing.rerun`:\n{told(short)}")
        raise


def fails(history, options):
    """Whether the two differ over it, or the engine breaks."""
    both = pair(**options)
    try:
        for now, batch in history:
            both.decide(now, batch)
        agreement.compare_books(both.shard, both.model)
        agreement.compare_transfers(both.shard, both.model)
    except Exception:
        return True
    return False


def shorten(history, options, seconds=SHORTENING_S):
    """The history without what it fails without: requests left out by halves, then one by one, then commands."""
    until = time.monotonic() + seconds
    flat = [(now, request) for now, batch in history for request in batch]
    for pieces in (requests_of, commands_of):
        flat = pieces(flat) if fails(grouped(pieces(flat)), options) else flat
        size = max(1, len(flat) // 2)
        while time.monotonic() < until:
            at, removed = 0, False
            while at < len(flat) and time.monotonic() < until:
                without = flat[:at] + flat[at + size :]
                if without and fails(grouped(without), options):
                    flat, removed = without, True
                else:
                    at += size
            if size == 1 and not removed:
                break
            size = max(1, size // 2)
    return grouped(flat)


def requests_of(flat):
    """As they are."""
    return flat


def commands_of(flat):
    """Requests of one command or one chain each."""
    parts = []
    for number, (now, request) in enumerate(flat):
        linked = request["event"][:, _FLAGS_WORD[int(request["kind"][0])]] >> np.uint64(48) & np.uint64(1) > 0
        begin = 0
        for at in range(len(request)):
            if linked[at] and at + 1 < len(request):
                continue
            key = 10**6 * (number + 1) + at
            events = request["event"][begin : at + 1].tobytes()
            kind, tenant = Kind(int(request["kind"][0])), int(request["tenant"][0])
            parts.append((now, frame(events, kind, tenant, key, now, int(request["expires_at"][0]))))
            begin = at + 1
    return parts


def grouped(flat):
    """Batches again, of the requests that are left."""
    batches = []
    for now, request in flat:
        if batches and batches[-1][0] == now:
            batches[-1][1].append(request)
        else:
            batches.append((now, [request]))
    return batches


def told(history):
    """The history as Python that `rerun` takes: fields that are zero are left out."""
    lines = ["["]
    for now, batch in history:
        lines.append(f"    ({now}, [")
        for request in batch:
            kind = Kind(int(request["kind"][0]))
            events = list(events_of(request, kind))
            own = events[0]
            lines.append(f"        (Kind.{kind.name}, {own['tenant']}, {own['request_id']}, {own['expires_at']}, [")
            fields = [name for name in _names(kind) if name != "reserved_64"]
            for event in events:
                shown = ", ".join(f"{name!r}: {event[name]}" for name in fields if event[name])
                lines.append(f"            {{{shown}}},")
            lines.append("        ]),")
        lines.append("    ]),")
    return "\n".join([*lines, "]"])


def _names(kind):
    return [name.removesuffix("_lo") for name in EVENTS[kind].names if not name.endswith("_hi")]


def rerun(history, **options):
    """A history as `told` tells it, run again. Raises what it raised."""
    both = pair(**options)
    for now, batch in history:
        requests = []
        for kind, tenant, request_id, expires_at, events in batch:
            requests.append(frame(packed(kind, events), kind, tenant, request_id, now, expires_at))
        both.decide(now, requests)
    agreement.compare_books(both.shard, both.model)
    agreement.compare_transfers(both.shard, both.model)
    return both
