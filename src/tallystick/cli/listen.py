"""`tally listen`: a receiver that verifies, with a subscription of its own; `tally trigger`: send a test webhook."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.cli.options import say
from tallystick.errors import Invalid, TallystickError, Unavailable

if TYPE_CHECKING:
    from tallystick.client.http import Answer, Api
    from tallystick.client.receiving import Received

DESCRIPTION = "tally listen"
ATTEMPTS = 60
PAUSE_S = 0.5
"""Half a minute in all: the notifier comes up after its platform is ready, on a busy machine long after."""


def listen(
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="What to be told of: transfer.*, …; else all.")
    ] = None,
    forward: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Hand each webhook on to a program, and answer what it answers."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 0,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the notifier reaches this, if not at host and port.")
    ] = None,
    from_position: Annotated[
        str | None, typer.Option("--from", metavar="POSITION", help="Begin with what was decided there; else now.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many webhooks; 0: never.")] = 0,
    as_json: options.Json = False,
) -> int:
    """Show webhooks as they come: makes a subscription, checks every signature, deletes the subscription at the end.

    The key needs the scope `webhooks`. To reach this machine itself, the platform must run with
    `TALLY_WEBHOOK_LOOPBACK=true`. With `--forward`, your program gets each webhook with its headers; what it does not
    take with 2xx comes again later. Ends with Ctrl-C.

    **Examples**

    - `tally listen` all that is decided from now on
    - `tally listen --type 'transfer.*' --forward http://127.0.0.1:8000/webhooks`
    - `tally listen --from 0 --count 10 --json`
    """
    from tallystick.client.http import Api

    api = Api(url, options.api_key(key, key_file))
    wanted: dict[str, Any] = {"types": types or ["*"], "description": DESCRIPTION}
    if from_position is not None:
        wanted["from_position"] = from_position
    try:
        return asyncio.run(_listen(api, wanted, forward, host, port, public_url, count, as_json))
    finally:
        api.close()


async def _listen(
    api: "Api",
    wanted: dict[str, Any],
    forward: str | None,
    host: str,
    port: int,
    public_url: str | None,
    count: int,
    as_json: bool,
) -> int:
    from tallystick.client.receiving import Receiver
    from tallystick.clock import SystemClock

    ended = asyncio.Event()
    told = 0

    def tell(received: "Received") -> None:
        nonlocal told
        told += not received.repeated
        (_tell_json if as_json else _tell)(received)
        if count and told >= count:
            ended.set()

    receiver = Receiver(SystemClock(), tell, lambda why: say(f"tally: a webhook was not taken: {why}"), forward)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        found = await receiver.listen(host, port)
        where = public_url or f"http://{f'[{host}]' if ':' in host else host}:{found}/"
        made = await asyncio.to_thread(_subscribe, api, {**wanted, "url": where})
        try:
            receiver.trust(made["key"])
            say(f"tally: listening at {where}, subscription {made['id']}; Ctrl-C ends and deletes it")
            await ended.wait()
        finally:
            with suppress(TallystickError):
                await asyncio.to_thread(api.ask, "DELETE", f"/v1/webhooks/{made['id']}")
    finally:
        await receiver.close()
    return Exit.DONE


def trigger(
    subscription: Annotated[str, typer.Argument(metavar="ID", help="The subscription to send a test webhook to.")],
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Send a webhook of the type `webhook.test` to a subscription, and wait a moment for what comes of it.

    Exit code 0 if it was delivered, 1 if the receiver refused it or was not there.

    **Examples**

    - `tally trigger 019a8f3e7b1c7d2e8f90a1b2c3d4e5f6`
    """
    from tallystick.client.http import Api

    api = Api(url, options.api_key(key, key_file))
    try:
        sent = _asked(api.ask("POST", f"/v1/webhooks/{subscription}/test"))
        found = _when(lambda: _asked(api.ask("GET", f"/v1/webhooks/{subscription}/deliveries/{sent['id']}")))
    finally:
        api.close()
    delivered = found["state"] == "delivered"
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif delivered:
        sys.stdout.write(f"{found['id']} delivered, in {found['tries'][-1]['took_ms']} ms\n")
    else:
        why = found["reason"] or "no answer yet"
        sys.stdout.write(f"{found['id']} not delivered: {why}; it is tried again on schedule\n")
    return Exit.DONE if delivered else Exit.REFUSED


def _when(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The delivery once it was tried, or as it stands after a while."""
    from tallystick.lab.instance import pause

    for _ in range(40):
        found = look()
        if found["attempts"]:
            return found
        pause(PAUSE_S)
    return found


def _subscribe(api: "Api", wanted: dict[str, Any]) -> dict[str, Any]:
    """Make the subscription; the same key each time, so that it is made once."""
    from tallystick.clock import system_entropy
    from tallystick.lab.instance import pause

    body, headers = json.dumps(wanted).encode(), {"Idempotency-Key": system_entropy(16).hex()}
    for attempt in range(ATTEMPTS):
        try:
            return _asked(api.ask("POST", "/v1/webhooks", body, headers))
        except Unavailable as error:
            if attempt + 1 == ATTEMPTS:
                raise
            if not attempt:
                say(f"tally: not yet: {error}; asking again for half a minute")
        pause(PAUSE_S)
    raise AssertionError("unreachable")


def _asked(answer: "Answer") -> dict[str, Any]:
    """What the gateway answered. Raises `Unavailable` or `Invalid` with its own words."""
    found = answer.json()
    if answer.status < 300:
        return found
    detail = found.get("detail") or f"HTTP {answer.status}"
    raise Unavailable(str(detail)) if answer.status >= 500 else Invalid("", str(detail))


def _tell(received: "Received") -> None:
    body = received.body
    fields = " ".join(f"{name}={value}" for name, value in body.get("data", {}).items() if name != "timestamp")
    notes = " (again)" if received.repeated else ""
    if received.forwarded is not None:
        notes += f" -> {received.forwarded}"
    sys.stdout.write(f"{body.get('timestamp', '')} {body.get('type', '?')} {fields} {received.id}{notes}\n")
    sys.stdout.flush()


def _tell_json(received: "Received") -> None:
    told = {"webhook_id": received.id, "repeated": received.repeated, "forwarded": received.forwarded}
    sys.stdout.write(json.dumps({**told, **received.body}) + "\n")
    sys.stdout.flush()
