"""What torture's clients ask for: few accounts, ids that meet, everything that a transfer can do, drawn from a seed.

Each order has the bytes that go over HTTP and the 128-byte events that the gateway must make of them, packed here by
other code than the gateway's, so that a field lost on the way is found.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from tallystick.ids import show
from tallystick.records import objects
from tallystick.records.commands import AccountFlag, Kind, Opcode, Side, TransferFlag
from tallystick.records.objects import Account, Control, Transfer

LEDGER, OTHER_LEDGER = 978, 840
CODE = 1
WORLD = 1
ACCOUNTS = 14
"""Accounts of each tenant; `WORLD`, the first, may spend without limit."""
REMEMBERED = 400
"""Requests and transfers that clients come back to."""
U128_MAX = (1 << 128) - 1
SECOND_NS = 1_000_000_000

BINARY = "application/octet-stream"
JSON = "application/json"
PLAIN = TransferFlag(0)
_RESOLVES = TransferFlag.POST_PENDING_TRANSFER | TransferFlag.VOID_PENDING_TRANSFER


@dataclass(frozen=True, slots=True)
class Order:
    """A request as a client sends it, every time the same."""

    tenant: int
    request_id: int
    kind: Kind
    method: str
    path: str
    media: str
    body: bytes = field(repr=False)
    events: bytes = field(repr=False)
    expires_at: int = 0

    @property
    def many(self) -> bool:
        """Whether the answer is that of a batch."""
        return self.path == "/v1/transfers/batch" or b'"accounts"' in self.body[:12]


@dataclass
class Known:
    """What the clients of one tenant know of, shared by them; only appended to and read."""

    orders: deque[Order] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    transfers: deque[Transfer] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    pending: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED // 4))
    ids: set[int] = field(default_factory=set)
    """Of every transfer ever asked for."""


def account_flags(number: int) -> AccountFlag:
    """With which flags account `number` is opened: always the same, so that opening it again finds it there."""
    if number == WORLD:
        return AccountFlag.HISTORY
    return (
        AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS,
        AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.HISTORY,
        AccountFlag(0),
        AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS,
    )[number % 4]


def ledger_of(number: int) -> int:
    """The last two accounts are of another ledger."""
    return OTHER_LEDGER if number > ACCOUNTS - 2 else LEDGER


class Orders:
    """Makes up orders of one client. All chance is the seed's."""

    def __init__(self, random: Random, tenant: int, known: Known) -> None:
        self._random = random
        self._tenant = tenant
        self._known = known
        self._makers: Sequence[tuple[Any, int]] = (
            (self._plain, 30),
            (self._pending, 12),
            (self._resolve, 14),
            (self._balancing, 5),
            (self._closing, 1),
            (self._imported, 1),
            (self._batch, 8),
            (self._binary, 5),
            (self._same_id, 6),
            (self._freeze, 6),
            (self._credit_limit, 3),
            (self._approve, 2),
            (self._account, 3),
        )

    def next(self, now_ns: int) -> Order:
        """A new request, or another one under an old id."""
        maker = self._random.choices([each for each, _ in self._makers], [weight for _, weight in self._makers])[0]
        order: Order = maker(now_ns)
        if self._known.orders and self._random.random() < 0.03:
            order = replace(order, request_id=self._earlier().request_id)
        self._known.orders.append(order)
        return order

    def earlier(self) -> Order | None:
        """One that was sent before, by whichever client of the tenant; None if there is none."""
        return self._earlier() if self._known.orders else None

    def _earlier(self) -> Order:
        return self._random.choice(list(self._known.orders))

    def opening(self) -> Order:
        """All accounts at once."""
        accounts = [self._opened(number) for number in range(1, ACCOUNTS + 1)]
        body = {"accounts": [account_json(account) for account in accounts]}
        events = b"".join(map(objects.pack_account, accounts))
        return self._order(Kind.ACCOUNT, "/v1/accounts", body, events)

    def a_payment(self) -> Order:
        """A plain transfer of nothing, to see that payments go through."""
        return self._single(self._transfer(amount=0), 0, expires=False)

    def a_control(self) -> Order:
        """A credit limit, to see that control commands go through."""
        return self._credit_limit(0)

    def accounts(self) -> list[int]:
        """Ids for a look-up of accounts."""
        return self._random.sample(range(1, ACCOUNTS + 3), self._random.choice((1, 1, 2, 4, ACCOUNTS)))

    def transfers(self) -> list[int]:
        """Ids for a look-up of transfers: known ones, and one that is not."""
        known = list({transfer.id for transfer in list(self._known.transfers)})
        return [*self._random.sample(known, min(len(known), 6)), self._random.getrandbits(128)]

    # What is asked

    def _plain(self, now_ns: int) -> Order:
        return self._single(self._transfer(), now_ns)

    def _pending(self, now_ns: int) -> Order:
        timeout = self._random.choice((0, 0, 1, 1, 2, 3, 60))
        return self._single(self._transfer(flags=TransferFlag.PENDING, timeout=timeout), now_ns)

    def _resolve(self, now_ns: int) -> Order:
        return self._single(self._resolution(), now_ns)

    def _resolution(self) -> Transfer:
        chance = self._random.random()
        pending = self._random.choice(list(self._known.pending) or [self._random.getrandbits(128)])
        if chance < 0.05:
            pending = self._random.choice(list(self._known.transfers)).id if self._known.transfers else pending
        flags = TransferFlag.VOID_PENDING_TRANSFER if chance < 0.4 else TransferFlag.POST_PENDING_TRANSFER
        amount = 0 if chance < 0.4 else self._random.choice((U128_MAX, U128_MAX, 0, 1, 10, 60))
        return Transfer(
            id=self._fresh(),
            debit_account_id=0,
            credit_account_id=0,
            amount=amount,
            ledger=0,
            code=0,
            pending_id=pending,
            flags=flags,
            user_data_64=self._random.choice((0, 0, 7)),
        )

    def _balancing(self, now_ns: int) -> Order:
        both = TransferFlag.BALANCING_DEBIT | TransferFlag.BALANCING_CREDIT
        flags = self._random.choice((TransferFlag.BALANCING_DEBIT, TransferFlag.BALANCING_CREDIT, both))
        if self._random.random() < 0.3:
            flags |= TransferFlag.PENDING
        return self._single(self._transfer(flags=flags, amount=self._random.choice((50, 5_000, U128_MAX))), now_ns)

    def _closing(self, now_ns: int) -> Order:
        flags = self._random.choice((TransferFlag.CLOSING_DEBIT, TransferFlag.CLOSING_CREDIT)) | TransferFlag.PENDING
        if self._random.random() < 0.1:
            flags &= ~TransferFlag.PENDING  # refused
        # Closed by a time-out that ends soon, or the accounts would all be closed before long.
        transfer = self._transfer(flags=flags, amount=0, timeout=self._random.choice((1, 1, 2)))
        return self._single(transfer, now_ns)

    def _imported(self, now_ns: int) -> Order:
        timestamp = now_ns - self._random.choice((1_000_000, 10_000_000, SECOND_NS))
        return self._single(self._transfer(flags=TransferFlag.IMPORTED, timestamp=timestamp), now_ns)

    def _chain(self) -> list[Transfer]:
        linked = [self._any() for _ in range(self._random.randint(2, 4))]
        chained = [msgspec.structs.replace(each, flags=each.flags | TransferFlag.LINKED) for each in linked[:-1]]
        if self._random.random() < 0.05:
            return [*chained, msgspec.structs.replace(linked[-1], flags=linked[-1].flags | TransferFlag.LINKED)]
        return [*chained, linked[-1]]

    def _any(self) -> Transfer:
        chance = self._random.random()
        if chance < 0.15:
            return self._resolution()
        if chance < 0.35:
            return self._transfer(flags=TransferFlag.PENDING, timeout=self._random.choice((0, 1, 2)))
        return self._transfer()

    def _some(self, most: int) -> list[Transfer]:
        transfers: list[Transfer] = []
        for _ in range(self._random.randint(1, most)):
            transfers += self._chain() if self._random.random() < 0.3 else [self._any()]
        return transfers

    def _batch(self, now_ns: int) -> Order:
        transfers = self._noted(self._some(6))
        body = {"transfers": [transfer_json(transfer) for transfer in transfers]}
        events = b"".join(map(objects.pack_transfer, transfers))
        return self._order(Kind.TRANSFER, "/v1/transfers/batch", body, events, self._expiry(now_ns))

    def _binary(self, now_ns: int) -> Order:
        transfers = self._noted(self._some(self._random.choice((1, 4, 30))))
        events = b"".join(map(objects.pack_transfer, transfers))
        request_id = self._random.getrandbits(127) | 1
        path = "/v1/transfers/batch"
        return Order(self._tenant, request_id, Kind.TRANSFER, "POST", path, BINARY, events, events)

    def _same_id(self, now_ns: int) -> Order:
        """A transfer that was asked for before, under another request id; often changed in one field."""
        if not self._known.transfers:
            return self._plain(now_ns)
        transfer = self._random.choice(list(self._known.transfers))
        changes: dict[str, Any] = self._random.choice(
            ({}, {}, {"amount": transfer.amount ^ 1}, {"user_data_32": 9}, {"code": 2}, {"timeout": 5})
        )
        return self._single(msgspec.structs.replace(transfer, **changes), now_ns)

    def _freeze(self, now_ns: int) -> Order:
        freeze = self._random.random() < 0.2
        side = self._random.choice((Side.DEBITS, Side.CREDITS, Side.BOTH))
        word = "freeze" if freeze else "unfreeze"
        opcode = Opcode.FREEZE if freeze else Opcode.UNFREEZE
        names = {Side.DEBITS: "debits", Side.CREDITS: "credits", Side.BOTH: "both"}
        return self._control(word, opcode, int(side), {"side": names[side]})

    def _credit_limit(self, now_ns: int) -> Order:
        limit = self._random.choice((0, 50, 500, 1 << 100))
        return self._control("credit-limit", Opcode.CREDIT_LIMIT, limit, {"credit_limit": str(limit)})

    def _control(self, word: str, opcode: Opcode, value: int, fields: dict[str, Any]) -> Order:
        account = self._random.randint(2, ACCOUNTS + 1)
        actor, reason = self._random.getrandbits(64), self._random.randint(0, 9)
        control = Control(account_id=account, opcode=opcode, value=value, reason=reason, actor=actor)
        body = {**fields, "reason": reason, "actor": show(actor)}
        path = f"/v1/accounts/{show(account)}/{word}"
        return self._order(Kind.CONTROL, path, body, objects.pack_control(control))

    def _approve(self, now_ns: int) -> Order:
        """Nothing is under review here, so this is refused, in one of several ways."""
        pending = self._random.choice(list(self._known.pending) or [5])
        approve = self._random.random() < 0.5
        opcode = Opcode.APPROVE if approve else Opcode.REJECT
        actor = self._random.getrandbits(64)
        control = Control(account_id=0, opcode=opcode, value=pending, reason=3, actor=actor)
        path = f"/v1/transfers/{show(pending)}/{'approve' if approve else 'reject'}"
        body = {"reason": 3, "actor": show(actor)}
        return self._order(Kind.CONTROL, path, body, objects.pack_control(control))

    def _account(self, now_ns: int) -> Order:
        account = self._opened(self._random.randint(1, ACCOUNTS))
        if self._random.random() < 0.3:
            account = msgspec.structs.replace(account, code=2)
        return self._order(Kind.ACCOUNT, "/v1/accounts", account_json(account), objects.pack_account(account))

    # How it is put together

    def _opened(self, number: int) -> Account:
        return Account(id=number, ledger=ledger_of(number), code=CODE, flags=account_flags(number), user_data_64=number)

    def _transfer(
        self,
        flags: TransferFlag = PLAIN,
        amount: int | None = None,
        timeout: int = 0,
        timestamp: int = 0,
    ) -> Transfer:
        random = self._random
        debit, credit = random.sample(range(1, ACCOUNTS - 1), 2)
        if random.random() < 0.05:
            debit, credit = random.sample(range(1, ACCOUNTS + 1), 2)  # those of the other ledger too
        if random.random() < 0.3:
            debit, credit = WORLD, random.randint(2, ACCOUNTS - 2)
        if random.random() < 0.01:
            credit = ACCOUNTS + 5  # there is none
        return Transfer(
            id=self._fresh(),
            debit_account_id=debit,
            credit_account_id=credit,
            amount=random.choice((0, 1, 10, 60, 100, 1_000)) if amount is None else amount,
            ledger=ledger_of(debit),
            code=CODE,
            flags=flags,
            timeout=timeout,
            timestamp=timestamp,
            user_data_128=random.choice((0, 0, 0, 1 << 90)),
        )

    def _fresh(self) -> int:
        # Small ids too: those that come in order, and those that two clients make up at once.
        return self._random.getrandbits(128) if self._random.random() < 0.9 else self._random.randint(1, 5_000)

    def _noted(self, transfers: list[Transfer]) -> list[Transfer]:
        for transfer in transfers:
            self._known.transfers.append(transfer)
            self._known.ids.add(transfer.id)
            if transfer.flags & TransferFlag.PENDING:
                self._known.pending.append(transfer.id)
        return transfers

    def _single(self, transfer: Transfer, now_ns: int, expires: bool = True) -> Order:
        self._noted([transfer])
        event = objects.pack_transfer(transfer)
        expires_at = self._expiry(now_ns) if expires else 0
        return self._order(Kind.TRANSFER, "/v1/transfers", transfer_json(transfer), event, expires_at)

    def _expiry(self, now_ns: int) -> int:
        if self._random.random() < 0.97:
            return 0
        return now_ns + self._random.randint(-SECOND_NS, 3 * SECOND_NS)

    def _order(self, kind: Kind, path: str, body: dict[str, Any], events: bytes, expires_at: int = 0) -> Order:
        if expires_at:
            body = {**body, "expires_at": str(expires_at)}
        encoded = msgspec.json.encode(body)
        request_id = self._random.getrandbits(127) | 1
        return Order(self._tenant, request_id, kind, "POST", path, JSON, encoded, events, expires_at)


def transfer_json(t: Transfer) -> dict[str, Any]:
    """A transfer as the API takes it. What a post or void leaves to its pending transfer is left out."""
    fields: dict[str, Any] = {"id": show(t.id), "amount": str(t.amount)}
    if not t.flags & _RESOLVES:
        fields |= {"debit_account_id": show(t.debit_account_id), "credit_account_id": show(t.credit_account_id)}
        fields |= {"ledger": t.ledger, "code": t.code}
    for name in ("pending_id", "user_data_128"):
        if getattr(t, name):
            fields[name] = show(getattr(t, name))
    for name in ("user_data_64", "timestamp"):
        if getattr(t, name):
            fields[name] = str(getattr(t, name))
    for name in ("user_data_32", "timeout"):
        if getattr(t, name):
            fields[name] = getattr(t, name)
    if t.flags & _RESOLVES and t.code:
        fields["code"] = t.code
    if t.flags:
        fields["flags"] = names_of(t.flags)
    return fields


def account_json(a: Account) -> dict[str, Any]:
    """An account as the API takes it."""
    fields = {"id": show(a.id), "ledger": a.ledger, "code": a.code, "user_data_64": str(a.user_data_64)}
    return {**fields, "flags": names_of(a.flags)}


def names_of(flags: AccountFlag | TransferFlag) -> list[str]:
    """Flags as the API spells them."""
    return [str(flag.name).lower() for flag in type(flags) if flags & flag]
