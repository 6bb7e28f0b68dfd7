"""Subscriptions and deliveries as JSON: what the API takes and gives, and gateway and notifier tell each other.

Ids of subscriptions are 32 hex digits, those of deliveries their `webhook-id`. Positions and instants (ns since the
Unix epoch) are strings of decimal digits, as everywhere in the API.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.webhooks.types import PATTERNS_MAX

DESCRIPTION_MAX = 255
OVERLAP_S = 86_400
OVERLAP_S_MAX = 30 * 86_400
PAGE_MAX = 100


def _documented(description: str, **schema: Any) -> Meta:
    """A meaning for the schema that the decoder does not check: the notifier does, and names the field."""
    return Meta(description=description, extra_json_schema=schema)


Url = Annotated[str, _documented("`https://…`, a public host, no credentials.", format="uri")]
Patterns = Annotated[
    list[str],
    _documented("Types, groups as `transfer.*`, or `*` for all.", minItems=1, maxItems=PATTERNS_MAX),
]
Description = Annotated[str, _documented("The tenant's own words.", maxLength=DESCRIPTION_MAX)]
Position = Annotated[str | int, _documented("A position in the journal: a string of digits, or an integer.")]
Seconds = Annotated[int, Meta(ge=0, le=OVERLAP_S_MAX)]
OutDigits = Annotated[str, _documented("Decimal digits.", pattern="^[0-9]+$")]
OutInstant = Annotated[str, _documented("Nanoseconds since the Unix epoch, as decimal digits.", pattern="^[0-9]+$")]
Key = Annotated[
    str,
    _documented("What receivers check with: `whsec_…` of v1 (keep it secret), `whpk_…` of v1a. Shown only here."),
]
Scheme = Annotated[str, _documented("`v1`: HMAC-SHA256, `v1a`: Ed25519.", enum=["v1", "v1a"])]
State = Annotated[str, _documented("How a delivery stands.", enum=["waiting", "delivered", "dead"])]


class SubscriptionIn(Struct, forbid_unknown_fields=True):
    """A subscription to make. It is told of what is decided from now on, or of all from `from_position` on."""

    url: Url
    types: Patterns
    description: Description = ""
    signature: Scheme = "v1"
    from_position: Position | UnsetType = UNSET


class SubscriptionChange(Struct, forbid_unknown_fields=True):
    """What to change; the rest stays. Enabled again, it is told of all that it missed, unless `skip_missed`."""

    url: Url | UnsetType = UNSET
    types: Patterns | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    skip_missed: bool = False


class Rotation(Struct, forbid_unknown_fields=True):
    """Make a new key; the one before it signs, too, for so many seconds."""

    overlap_s: Seconds = OVERLAP_S


class ReplayIn(Struct, forbid_unknown_fields=True):
    """Send again, or for the first time, what was decided from a position on, up to another (not included)."""

    from_position: Position
    until_position: Position | UnsetType = UNSET


class SubscriptionOut(Struct, frozen=True, kw_only=True):
    """A subscription. `reason` says why it is not enabled: `asked`, `gone` (the receiver answered 410) or `failing`.

    `next_position` is the first that it was not told of, `waiting` how many deliveries wait to be sent."""

    id: str
    url: str
    types: list[str]
    description: str
    signature: Scheme
    enabled: bool
    reason: str
    created_at: OutInstant
    changed_at: OutInstant
    failing_since: OutInstant | None
    next_position: OutDigits
    waiting: int
    version: int


class SubscriptionMade(SubscriptionOut, frozen=True, kw_only=True):
    """A new subscription, and the key that its receiver needs."""

    key: Key


class SubscriptionList(Struct, frozen=True):
    """All of a tenant's subscriptions, oldest first."""

    subscriptions: list[SubscriptionOut]


class KeyMade(Struct, frozen=True):
    """The new key, and until when those before it sign, too."""

    key: Key
    earlier_until: OutInstant


class Deleted(Struct, frozen=True):
    """It is gone, and nothing more is sent."""

    id: str
    deleted: bool = True


class DeliveryOut(Struct, frozen=True, kw_only=True):
    """One notification for one subscription. `id` is the `webhook-id`, the same each time that it is sent.

    `due_at` is when it is tried again, if it waits; `reason` is why it is dead, or why the last attempt failed."""

    id: str
    type: str
    position: OutDigits | None
    state: State
    attempts: int
    made_at: OutInstant
    due_at: OutInstant | None
    done_at: OutInstant | None
    reason: str


class AttemptOut(Struct, frozen=True):
    """One try. `status` is what the receiver answered, if it did. What else it said is not kept."""

    number: int
    at: OutInstant
    took_ms: int
    status: int | None
    error: str


class DeliveryDetail(DeliveryOut, frozen=True, kw_only=True):
    """A delivery with the body that is sent and its last attempts, oldest first."""

    body: str
    tries: list[AttemptOut]


class DeliveryList(Struct, frozen=True):
    """A page, newest first. `next` goes into `before` for the page after it; null: there is none."""

    deliveries: list[DeliveryOut]
    next: str | None


class ReplayOut(Struct, frozen=True):
    """What is sent again: `until_position` is not included."""

    from_position: OutDigits
    until_position: OutDigits
