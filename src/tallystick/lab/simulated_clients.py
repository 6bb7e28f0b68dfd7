"""The clients of a simulation: few accounts, ids that meet, every flag, retries, reused keys, other people's ids.

What they ask is skewed to collisions and limits: the same few transfers are posted and voided again and again,
time-outs are seconds, balances are small or near 2^64, 2^127 and 2^128.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tallystick.records.commands import AccountFlag, ControlFlag, Kind, Opcode, Side, TransferFlag, frame
from tallystick.records.objects import Account, Control, Transfer, pack_account, pack_control, pack_transfer

TENANTS = (1, 2)
ACCOUNTS = 5
TRANSFERS = 300
COMMANDS_MAX = 4
"""Commands in a request."""
AMOUNT_MAX = (1 << 128) - 1
HUGE = (1 << 63, 1 << 64, (1 << 127) - 1, 1 << 127, AMOUNT_MAX - 1, AMOUNT_MAX)
TIMEOUTS_S = (0, 0, 1, 1, 2, 3, 60, (1 << 32) - 1)
_REMEMBERED = 12
"""How many of the newest transfers are resolved, approved and rejected."""


@dataclass(frozen=True)
class Asked:
    """A request as its client made it."""

    tenant: int
    id: int
    kind: Kind
    fingerprint: bytes
    expires_at: int
    events: bytes = field(repr=False)
    commands: bytes = field(repr=False)
    words: str = field(repr=False, compare=False)
    """What is asked, for people."""

    @property
    def control(self) -> bool:
        """Whether it goes by a control lane."""
        return self.kind is Kind.CONTROL

    def __str__(self) -> str:
        return f"{self.id:032x} of tenant {self.tenant}: {self.words}"


@dataclass
class _Tenant:
    """What the clients of one tenant remember."""

    transfers: list[Transfer] = field(default_factory=list)
    pending: list[Transfer] = field(default_factory=list)


class Clients:
    """Makes requests; all randomness is the simulation's."""

    def __init__(self, random: Random, now_ns: Callable[[], int]) -> None:
        self._random = random
        self._now_ns = now_ns
        self._tenants = {tenant: _Tenant() for tenant in TENANTS}
        self.asked: list[Asked] = []

    def account(self) -> tuple[int, int]:
        """Tenant and id of an account that there may be."""
        return self._random.choice(TENANTS), self._random.randint(1, ACCOUNTS)

    def transfer(self) -> tuple[int, int]:
        """Tenant and id of a transfer that there may be."""
        tenant = self._random.choice(TENANTS)
        known = self._tenants[tenant].transfers
        return tenant, self._random.choice(known).id if known else 1

    def request(self) -> Asked:
        """A new request, or one sent again as it was, or under another id, or another under its id."""
        random, asked = self._random, self.asked
        chance = random.random()
        if asked and chance < 0.25:
            return random.choice(asked)
        tenant, kind = random.choices(TENANTS, (4, 1))[0], self._kind()
        request_id = random.getrandbits(128) or 1
        events, words = b"", ""
        if asked and chance < 0.35:
            earlier = random.choice(asked)
            if chance < 0.28:
                request_id, tenant = earlier.id, earlier.tenant
            else:
                tenant, kind, events, words = earlier.tenant, earlier.kind, earlier.events, earlier.words
        if len(asked) < len(TENANTS):
            tenant, kind = TENANTS[len(asked)], Kind.ACCOUNT
            accounts = [Account(id=number, ledger=1, code=1, flags=_flags(number)) for number in range(1, ACCOUNTS + 1)]
            events, words = b"".join(map(pack_account, accounts)), "; ".join(map(_account_words, accounts))
        if not events:
            events, words = self._events(tenant, kind)
        now = self._now_ns()
        expires_at = now + random.randint(0, 4_000_000_000) if random.random() < 0.05 else 0
        commands = frame(events, kind, tenant, request_id, now, expires_at)
        request = Asked(
            tenant,
            request_id,
            kind,
            commands[0]["fingerprint"].tobytes(),
            expires_at,
            events,
            commands.tobytes(),
            words,
        )
        asked.append(request)
        return request

    def _kind(self) -> Kind:
        return self._random.choices((Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL), (14, 1, 2))[0]

    def _events(self, tenant: int, kind: Kind) -> tuple[bytes, str]:
        random = self._random
        count = random.randint(1, COMMANDS_MAX)
        chains = random.random() < 0.3
        linked = [chains and random.random() < 0.7 and (at < count - 1 or random.random() < 0.1) for at in range(count)]
        imported = kind is not Kind.CONTROL and random.random() < 0.08
        if kind is Kind.ACCOUNT:
            accounts = [self._account(link, imported) for link in linked]
            return b"".join(map(pack_account, accounts)), "; ".join(map(_account_words, accounts))
        if kind is Kind.CONTROL:
            controls = [self._control(tenant, link) for link in linked]
            return b"".join(map(pack_control, controls)), "; ".join(map(_control_words, controls))
        transfers = [self._transfer(self._tenants[tenant], link, imported) for link in linked]
        return b"".join(map(pack_transfer, transfers)), "; ".join(map(_transfer_words, transfers))

    def _past_ns(self) -> int:
        """A time of an imported event: mostly new enough not to regress."""
        random = self._random
        back = random.randint(1, 1_000) if random.random() < 0.7 else random.randint(-1_000_000, 3_000_000_000)
        return self._now_ns() - back

    def _account(self, linked: bool, imported: bool) -> Account:
        random = self._random
        number = random.randint(1, ACCOUNTS)
        flags, chance = _flags(number), random.random()
        if chance < 0.05:
            flags ^= random.choice(list(AccountFlag))
        if linked:
            flags |= AccountFlag.LINKED
        if imported and random.random() < 0.95:
            flags |= AccountFlag.IMPORTED
        return Account(
            id=number if chance < 0.98 else random.choice((0, AMOUNT_MAX)),
            ledger=1 if random.random() < 0.95 else random.choice((0, 2)),
            code=random.choice((1, 1, 1, 1, 1, 1, 1, 2)),
            flags=flags,
            timestamp=self._past_ns() if imported else int(random.random() < 0.01),
        )

    def _control(self, tenant: int, linked: bool) -> Control:
        random = self._random
        flags = ControlFlag.LINKED if linked else ControlFlag(0)
        opcode = random.choices(list(Opcode), (2, 4, 2, 6, 3))[0]
        if opcode in (Opcode.APPROVE, Opcode.REJECT):
            known = self._tenants[tenant].transfers[-_REMEMBERED:]
            value = random.choice(known).id if known else 1
            account_id = 0 if random.random() < 0.97 else 1
            return Control(account_id=account_id, opcode=opcode, value=value, flags=flags)
        if opcode is Opcode.CREDIT_LIMIT:
            value = (
                random.choice((*HUGE, random.randint(0, 5_000))) if random.random() < 0.1 else random.randint(0, 5_000)
            )
        else:
            value = random.choice(list(Side))
        return Control(account_id=random.randint(1, ACCOUNTS), opcode=opcode, value=value, flags=flags)

    def _transfer(self, tenant: _Tenant, linked: bool, imported: bool) -> Transfer:
        random = self._random
        flags = TransferFlag.LINKED if linked else TransferFlag(0)
        if imported and random.random() < 0.95:
            flags |= TransferFlag.IMPORTED
        timestamp = self._past_ns() if imported else int(random.random() < 0.005)
        number = random.randint(1, TRANSFERS) if random.random() < 0.5 else random.getrandbits(64) << 64 | 1
        chance = random.random()
        if chance < 0.30 and tenant.pending:
            newest = tenant.pending[-_REMEMBERED if random.random() < 0.5 else -2 :]
            made = self._resolve(random.choice(newest), number, flags, timestamp)
        else:
            made = self._move(chance, number, flags, timestamp)
        tenant.transfers.append(made)
        if made.flags & TransferFlag.PENDING:
            tenant.pending.append(made)
        return made

    def _amount(self) -> int:
        random = self._random
        chance = random.random()
        if chance < 0.9:
            return random.randint(0, 1_000)
        return 0 if chance < 0.95 else random.choice(HUGE)

    def _move(self, chance: float, number: int, flags: TransferFlag, timestamp: int) -> Transfer:
        """Anything but a post or a void."""
        random = self._random
        debit, credit = random.sample(range(1, ACCOUNTS + 1), 2)
        if _flags(debit) & AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS and random.random() < 0.5:
            debit, credit = credit, debit  # money must come before it can go
        timeout, ledger, code = 0, 1, 1
        if chance < 0.55:
            flags |= TransferFlag.PENDING
            timeout = random.choice(TIMEOUTS_S)
            if random.random() < 0.12:
                flags |= random.choice((TransferFlag.CLOSING_DEBIT, TransferFlag.CLOSING_CREDIT))
        if random.random() < 0.12:
            flags |= random.choice((TransferFlag.BALANCING_DEBIT, TransferFlag.BALANCING_CREDIT))
        if random.random() < 0.06:  # anything that is not right
            flags ^= TransferFlag(random.choice((0, 0, 1 << random.randrange(16))))
            debit, credit = random.choice(((debit, debit), (0, credit), (debit, AMOUNT_MAX), (debit, ACCOUNTS + 1)))
            timeout, ledger, code = random.choice((0, 1)), random.choice((0, 1, 2)), random.choice((0, 1))
            number = random.choice((0, number, number, AMOUNT_MAX))
        return Transfer(
            id=number,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=self._amount(),
            ledger=ledger,
            code=code,
            flags=flags,
            user_data_64=random.choice((0, 0, 0, 7)),
            timeout=timeout,
            timestamp=timestamp,
        )

    def _resolve(self, pending: Transfer, number: int, flags: TransferFlag, timestamp: int) -> Transfer:
        """A post or a void of this one, with its fields repeated or left out, and now and then wrong."""
        random = self._random
        if random.random() < 0.65:
            flags |= TransferFlag.POST_PENDING_TRANSFER
            amount = random.choice((AMOUNT_MAX, pending.amount, pending.amount // 2, 0, self._amount()))
        else:
            flags |= TransferFlag.VOID_PENDING_TRANSFER
            amount = random.choice((0, 0, pending.amount, self._amount()))
        repeated, wrong = random.random() < 0.5, random.random() < 0.05
        return Transfer(
            id=number,
            debit_account_id=pending.debit_account_id % AMOUNT_MAX if repeated and not wrong else ACCOUNTS * wrong,
            credit_account_id=pending.credit_account_id if repeated else 0,
            amount=amount,
            ledger=pending.ledger if repeated else 0,
            code=random.choice((0, pending.code, 3)) if wrong else pending.code if repeated else 0,
            flags=flags,
            pending_id=pending.id if random.random() < 0.97 else random.choice((0, number, AMOUNT_MAX, 77)),
            timeout=int(random.random() < 0.01),
            timestamp=timestamp,
        )


def _flags(number: int) -> AccountFlag:
    """What an account is follows from its id, so that opening it again finds that it exists; mostly."""
    return (
        AccountFlag.HISTORY,
        AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS,
        AccountFlag(0),
        AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS,
    )[number % 4]


def _flag_words(flags: TransferFlag | AccountFlag) -> str:
    return "".join(f" {flag.name.lower()}" for flag in flags if flag.name)


def _transfer_words(t: Transfer) -> str:
    words = f"{t.id:x}: {t.amount} from {t.debit_account_id} to {t.credit_account_id}"
    words += f" of {t.pending_id:x}" if t.pending_id else ""
    words += f" timeout {t.timeout}" if t.timeout else ""
    return words + _flag_words(t.flags)


def _account_words(a: Account) -> str:
    return f"open {a.id}{_flag_words(a.flags)}"


def _control_words(c: Control) -> str:
    linked = " linked" if c.flags else ""
    return f"{c.opcode.name.lower()} {c.account_id or ''} {c.value:x}{linked}"
