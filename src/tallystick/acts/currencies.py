"""What the numbers of a ledger mean: its currency and scale, as acts in the log `control` say.

The ledger itself knows integers of minor units and no currency. A later act about the same ledger of the same tenant
stands in place of an earlier one; the number of the act says which it was, for anyone who verifies that log.
"""

import re
import threading

from tallystick.acts import entries
from tallystick.acts.port import ActReader
from tallystick.errors import Invalid
from tallystick.records.openings import Currency

ACT = "currency_set"
SCALE_MAX = 30
_CODE = re.compile(r"[A-Z0-9]{3,12}")
_AT_ONCE = 1_024


def more(tenant: int, code: str, scale: int) -> dict[str, str]:
    """What the act says beside its target, the ledger. Raises `Invalid`."""
    if not _CODE.fullmatch(code):
        raise Invalid("code", "must be 3 to 12 capital letters and digits, such as EUR (ISO 4217)")
    if not 0 <= scale <= SCALE_MAX:
        raise Invalid("scale", f"must be between 0 and {SCALE_MAX}: how many digits of an amount are behind the point")
    return {"code": code, "scale": str(scale), "tenant": str(tenant)}


class Currencies:
    """The table that the acts make. Threads may share it."""

    def __init__(self, control: ActReader) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._next = 0
        self._known: dict[tuple[int, int], Currency] = {}

    def of(self, tenant: int, ledger: int) -> Currency | None:
        """That of a tenant's ledger now; None if nobody said. Raises `Unavailable`, `Corrupt`."""
        with self._lock:
            self._catch_up()
            return self._known.get((tenant, ledger))

    def all(self) -> dict[tuple[int, int], Currency]:
        """By tenant and ledger, those of now. Raises `Unavailable`, `Corrupt`."""
        with self._lock:
            self._catch_up()
            return dict(self._known)

    def _catch_up(self) -> None:
        while found := self._control.read(self._next, _AT_ONCE):
            for number, entry in enumerate(found, self._next):
                act = entries.shown(entry)
                if act["act"] == ACT:
                    said = act["more"]
                    key = int(said["tenant"]), int(act["target"])
                    self._known[key] = Currency(said["code"], int(said["scale"]), number)
            self._next += len(found)
