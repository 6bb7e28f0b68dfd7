"""The clients of a simulation: few accounts, ids that meet, retries with the same and with other ids, reused keys."""

from collections.abc import Callable
from random import Random

import numpy as np

from tallystick.lab.simulated_history import Asked, History
from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, Kind, Opcode, Side, frame

TENANTS = (1, 2)
ACCOUNTS = 5
TRANSFERS = 200
COMMANDS_MAX = 4
"""Commands in a request."""


class Clients:
    """Makes requests; all randomness is the simulation's."""

    def __init__(self, random: Random, history: History, now_ns: Callable[[], int]) -> None:
        self._random = random
        self._history = history
        self._now_ns = now_ns

    def account(self) -> tuple[int, int]:
        """Tenant and id of an account that there may be."""
        return self._random.choice(TENANTS), self._random.randint(1, ACCOUNTS)

    def request(self) -> Asked:
        """A new request, or one sent again as it was, or under another id, or another under its id."""
        asked = self._history.asked
        chance = self._random.random()
        if asked and chance < 0.25:
            return self._random.choice(asked)
        tenant, kind, events = self._random.choice(TENANTS), self._kind(), b""
        request_id = self._random.getrandbits(128) or 1
        if asked and chance < 0.35:
            earlier = self._random.choice(asked)
            if chance < 0.30:
                request_id, tenant = earlier.id, earlier.tenant
            else:
                rows = np.frombuffer(earlier.commands, frame(bytes(128), Kind.TRANSFER, 1, 1, 1).dtype)
                tenant, kind, events = earlier.tenant, Kind(int(rows[0]["kind"])), rows["event"].tobytes()
        events = events or self._events(kind)
        now = self._now_ns()
        expires_at = now + self._random.randint(0, 4_000_000_000) if self._random.random() < 0.05 else 0
        commands = frame(events, kind, tenant, request_id, now, expires_at)
        control = kind is Kind.CONTROL
        request = Asked(tenant, request_id, commands[0]["fingerprint"].tobytes(), commands.tobytes(), control)
        asked.append(request)
        return request

    def _kind(self) -> Kind:
        if len(self._history.asked) < 6:
            return Kind.ACCOUNT
        return self._random.choices((Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL), (12, 2, 2))[0]

    def _events(self, kind: Kind) -> bytes:
        random = self._random
        count = random.randint(1, COMMANDS_MAX)
        if kind is Kind.ACCOUNT:
            accounts = np.zeros(count, ACCOUNT_EVENT)
            for row in accounts:
                row["id_lo"], row["ledger"], row["code"] = random.randint(1, ACCOUNTS), 1, random.choice((1, 1, 1, 2))
                row["flag_bits"] = 2 * (row["id_lo"] % 2)  # every other one has a limit
            return accounts.tobytes()
        if kind is Kind.CONTROL:
            controls = np.zeros(count, CONTROL_EVENT)
            for row in controls:
                row["account_id_lo"] = random.randint(1, ACCOUNTS)
                row["opcode"] = random.choice((Opcode.FREEZE, Opcode.UNFREEZE, Opcode.UNFREEZE, Opcode.CREDIT_LIMIT))
                limit = row["opcode"] == Opcode.CREDIT_LIMIT
                row["value_lo"] = random.randint(0, 5_000) if limit else random.choice(list(Side))
            return controls.tobytes()
        transfers = np.zeros(count, TRANSFER_EVENT)
        for row in transfers:
            row["id_lo"] = random.randint(1, TRANSFERS) if random.random() < 0.5 else random.getrandbits(64)
            row["id_hi"] = random.choice((0, 0, self._now_ns()))
            row["debit_account_id_lo"], row["credit_account_id_lo"] = random.sample(range(1, ACCOUNTS + 1), 2)
            row["amount_lo"], row["ledger"], row["code"] = random.randint(0, 1_000), 1, 1
        return transfers.tobytes()
