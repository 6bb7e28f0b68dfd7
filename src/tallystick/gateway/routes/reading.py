"""What the projector is asked: balances then and now, statements, searches, trial balances. Here only the question is
checked and the answer handed on; a projector that is away costs that answer a 503, and no payment anything."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from msgspec import structs

from tallystick import ids
from tallystick.acts.port import ACCESS
from tallystick.errors import Invalid
from tallystick.gateway import decoding
from tallystick.gateway.answering import JSON, Answer
from tallystick.gateway.auth import READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.decoding import unsigned
from tallystick.inquiries import reads
from tallystick.inquiries.reads import LIMIT_MAX, Asked

FOLLOWER = "projector"
CSV, HTML = "text/csv", "text/html"
_MEDIA = {CSV: "text/csv; charset=utf-8; header=present", HTML: "text/html; charset=utf-8", JSON: JSON}
_PROBLEMS = ("invalid_field", "not_found", "unavailable")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?")
U128_MAX = (1 << 128) - 1
_Read = Callable[[str, str], Any]


def parameters(call: Call, known: tuple[str, ...]) -> dict[str, str]:
    """The query's parameters. Raises `Invalid` for one that is not known here, or stands twice."""
    try:
        pairs = parse_qsl(
            call.query, keep_blank_values=True, strict_parsing=bool(call.query), max_num_fields=32, errors="strict"
        )
    except ValueError as error:
        raise Invalid("query", "cannot be understood") from error
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise Invalid("query", "has a parameter twice")
    if unknown := asked.keys() - set(known):
        raise Invalid(min(unknown), f"is no parameter here; there are {', '.join(known)}")
    return asked


def instant(text: str, field: str) -> int:
    """ns since the epoch: digits, or a time as RFC 3339 writes it (UTC if it names no offset). Raises `Invalid`."""
    if text.isascii() and text.isdigit():
        return unsigned(text, field)
    if not _TIME.fullmatch(text):
        raise Invalid(field, "must be nanoseconds since the epoch, or a time like 2026-01-31T12:00:00Z")
    whole, _, rest = text.partition(".")
    fraction = re.match(r"\d*", rest)
    digits = fraction.group() if fraction else ""
    try:
        moment = datetime.fromisoformat((whole + rest[len(digits) :]).replace("z", "Z").replace("Z", "+00:00"))
    except ValueError as error:
        raise Invalid(field, f"is no time: {error}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(digits.ljust(9, "0") or 0)
    if not 0 <= nanoseconds < 1 << 64:
        raise Invalid(field, "must lie between 1970 and 2554")
    return nanoseconds


def _number(text: str, field: str, least: int, most: int) -> int:
    number = unsigned(text, field)
    if not least <= number <= most:
        raise Invalid(field, f"must be between {least} and {most:,}")
    return number


def _up_to(most: int) -> _Read:
    """A field of the client's own: zero is as good as none, and cannot be asked for."""
    return lambda text, field: _number(text, field, 1, most)


def _limit(text: str, field: str) -> int:
    return _number(text, field, 1, LIMIT_MAX)


def _id(text: str, field: str) -> bytes:
    number = ids.parse(text, field)
    if not number:
        raise Invalid(field, "must not be zero")
    return number.to_bytes(16, "big")


def _amount(text: str, field: str) -> bytes:
    if not (text.isascii() and text.isdigit() and len(text) <= 39 and int(text) <= U128_MAX):
        raise Invalid(field, "must be minor units, 0 to 2^128 - 1, as digits")
    return int(text).to_bytes(16, "big")


def _order(text: str, field: str) -> bool:
    if text not in ("oldest", "newest"):
        raise Invalid(field, "must be oldest or newest")
    return text == "oldest"


def _position(text: str, field: str) -> int:
    return _number(text, field, 0, (1 << 63) - 1)


def _metadata(text: str, field: str) -> bytes:
    return decoding.commitment(text, field)


_PAGE: dict[str, tuple[str, _Read, str]] = {
    "limit": ("limit", _limit, f"How many at most, 1 to {LIMIT_MAX:,}; 100 if left out."),
    "cursor": ("cursor", lambda text, field: text, "Of the page before; the other parameters as they were."),
}
_SPAN: dict[str, tuple[str, _Read, str]] = {
    "from": ("since_ns", instant, "Decided at this instant or later: ns since the epoch, or RFC 3339."),
    "to": ("until_ns", instant, "Decided before this instant."),
}
_OWN: dict[str, tuple[str, _Read, str]] = {
    "ledger": ("ledger", _up_to(0xFFFFFFFF), "Of this ledger."),
    "code": ("code", _up_to(0xFFFF), "With this code."),
    "user_data_128": ("user_data_128", _id, "With this `user_data_128`, 32 hex digits."),
    "user_data_64": ("user_data_64", _up_to((1 << 64) - 1), "With this one."),
    "user_data_32": ("user_data_32", _up_to(0xFFFFFFFF), "With this one."),
}
_BALANCE: dict[str, tuple[str, _Read, str]] = {
    "at": ("at_ns", instant, "At this instant, what was decided at it included: ns since the epoch, or RFC 3339."),
    "at_position": ("at_position", _position, "At this position: all entries before it."),
}
_TRANSFERS: dict[str, tuple[str, _Read, str]] = {
    "account_id": ("account_id", _id, "That debit or credit this account."),
    "amount": ("amount", _amount, "That moved exactly so many minor units."),
    "amount_min": ("amount_min", _amount, "That moved at least so many minor units."),
    "amount_max": ("amount_max", _amount, "That moved at most so many minor units."),
    **_SPAN,
    **_OWN,
    "metadata_commitment": ("metadata", _metadata, "With this commitment, 64 hex digits."),
    "order": ("oldest_first", _order, "`newest` (default) or `oldest` first."),
    **_PAGE,
}


def _asked(call: Call, known: dict[str, tuple[str, _Read, str]]) -> dict[str, Any]:
    """The question's fields, those in the query and the position that the client knows of."""
    found = {known[name][0]: known[name][1](text, name) for name, text in parameters(call, tuple(known)).items()}
    told = call.headers.get("tally-position")
    if told is not None:
        found["position"] = _position(told, "Tally-Position")
    return found


async def _answer(call: Call, operation: str, asked: Asked, path: str, media: str = JSON) -> Answer:
    """What the projector says, with `Tally-Position`, and `Link` to the next page."""
    if len(call.service.all) > 1 and asked.position > call.service.link.position:
        asked = await _of_this_shard(call, asked)
    told = await call.service.followers[FOLLOWER].ask(operation, call.principal.tenant, reads.encode(asked))
    read = reads.decode_read(told)
    headers: tuple[tuple[str, str], ...] = (("tally-position", str(read.position)),)
    if read.cursor:
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        query["cursor"] = read.cursor
        headers += (("link", f'<{path}?{urlencode(query)}>; rel="next"'),)
    return 200, _MEDIA[media], headers, read.body


async def _of_this_shard(call: Call, asked: Asked) -> Asked:
    """The question, of a position that there is: one past the journal's end was told where the tenant lived before.

    Raises `Unavailable` if the engine does not tell where that end is.
    """
    link = call.service.link
    await link.positions()
    return structs.replace(asked, position=min(asked.position, link.position))


def _account_id(call: Call) -> bytes:
    return ids.parse(call.arguments[0]).to_bytes(16, "big")


async def balance(call: Call) -> Answer:
    """Balances of an account, now or at a moment."""
    fields = _asked(call, _BALANCE)
    if "at_ns" in fields and "at_position" in fields:
        raise Invalid("at_position", "cannot stand beside at")
    return await _answer(call, "balance", reads.BalanceAsked(account_id=_account_id(call), **fields), "")


def preferred(accept: str) -> str:
    """JSON, CSV or HTML, as the `Accept` header likes best (RFC 9110 §12.5.1); JSON where it says nothing of them."""
    best, quality = JSON, -1.0
    for part in accept.split(","):
        media, *options = (each.strip().lower() for each in part.split(";"))
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        given = float(weight) if re.fullmatch(r"[01](\.\d{1,3})?", weight) else 0.0
        names = {"*/*": JSON, "application/*": JSON, "text/*": HTML}
        found = names.get(media, media if media in _MEDIA else None)
        if found is not None and given > max(quality, 0.0):
            best, quality = found, given
    return best


def _statement(media: str | None, suffix: str) -> Callable[[Call], Awaitable[Answer]]:
    async def statement(call: Call) -> Answer:
        """A page of an account's statement."""
        chosen = media or preferred(call.headers.get("accept", ""))
        asked = reads.StatementAsked(account_id=_account_id(call), media=chosen, **_asked(call, {**_SPAN, **_PAGE}))
        path = f"/v1/accounts/{quote(call.arguments[0])}/statement{suffix}"
        return await _answer(call, "statement", asked, path, chosen)

    return statement


async def transfers(call: Call) -> Answer:
    """Transfers that meet all of the query."""
    fields = _asked(call, _TRANSFERS)
    if "amount" in fields:
        if "amount_min" in fields or "amount_max" in fields:
            raise Invalid("amount", "cannot stand beside amount_min or amount_max")
        fields["amount_min"] = fields["amount_max"] = fields.pop("amount")
    if fields.get("amount_min", b"") > fields.get("amount_max", b"\xff" * 16):
        raise Invalid("amount_min", "must not be more than amount_max")
    return await _answer(call, "transfers", reads.TransfersAsked(**fields), "/v1/transfers")


async def accounts(call: Call) -> Answer:
    """Accounts that meet all of the query."""
    return await _answer(call, "accounts", reads.AccountsAsked(**_asked(call, {**_OWN, **_PAGE})), "/v1/accounts")


async def totals(call: Call) -> Answer:
    """Trial balances of the tenant's ledgers."""
    asked = reads.TotalsAsked(**_asked(call, {"ledger": _OWN["ledger"]}))
    return await _answer(call, "totals", asked, "/v1/trial-balance")


def _told(known: dict[str, tuple[str, _Read, str]]) -> dict[str, str]:
    return {name: meaning for name, (_, _, meaning) in known.items()}


def _route(
    path: str, name: str, handle: Callable[[Call], Awaitable[Answer]], summary: str, gives: Any, query: dict[str, str]
) -> Route:
    return Route(
        "GET",
        path,
        name,
        handle,
        summary,
        READ,
        gives={200: gives},
        problems=_PROBLEMS,
        query=query,
        read=True,
        acts=ACCESS,
    )


_PAGES = _told({**_SPAN, **_PAGE})
_STATEMENT = "A page of an account's statement: every entry that concerns it, with its number and the balances after it"
ROUTES = (
    _route(
        "/v1/accounts/{id}/balance",
        "balance",
        balance,
        "Balances of an account: now, or at a past moment.",
        {JSON: reads.BalanceOut},
        _told(_BALANCE),
    ),
    _route(
        "/v1/accounts/{id}/statement",
        "statement",
        _statement(None, ""),
        f"{_STATEMENT}. As `Accept` says: JSON, CSV or a page of HTML to print.",
        {JSON: reads.StatementOut, CSV: None, HTML: None},
        _PAGES,
    ),
    _route(
        "/v1/accounts/{id}/statement.csv", "statement_csv", _statement(CSV, ".csv"), f"{_STATEMENT}; as CSV.",
        {CSV: None}, _PAGES,
    ),
    _route(
        "/v1/accounts/{id}/statement.html", "statement_html", _statement(HTML, ".html"), f"{_STATEMENT}; to print.",
        {HTML: None}, _PAGES,
    ),
    _route(
        "/v1/transfers", "transfers_search", transfers, "Transfers that meet all of the query, page by page.",
        {JSON: reads.TransfersFound}, _told(_TRANSFERS),
    ),
    _route(
        "/v1/accounts", "accounts_search", accounts, "Accounts that meet all of the query, page by page, oldest first.",
        {JSON: reads.AccountsFound}, _told({**_OWN, **_PAGE}),
    ),
    _route(
        "/v1/trial-balance", "trial_balance", totals, "Sums of all balances, by ledger and code of the accounts.",
        {JSON: reads.TotalsOut}, _told({"ledger": _OWN["ledger"]}),
    ),
)  # fmt: skip
