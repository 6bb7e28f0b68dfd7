"""`python -m services start|stop|status`: what `make services` and `make services-stop` run.

And `kill|pause|unpause`, by which `tally torture --server` hurts them: the words of `docker`, with the same meanings;
with `--member NUMBER` one of several (`postgresql-pair`, `kafka-cluster`). `promote` makes a standby the primary.
"""

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from services import addresses, kafka, postgresql, rabbitmq
from services.addresses import Kept
from services.server import CannotStart, Server, Several, alive, install, kill, pause, stop

SERVERS: Sequence[Server] = (
    postgresql.SERVER,
    postgresql.PAIR,
    rabbitmq.SERVER,
    rabbitmq.NEWER,
    kafka.SERVER,
    kafka.CLUSTER,
)
HURTS = ("kill", "pause", "unpause")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a server that was asked for is not there."""
    parser = argparse.ArgumentParser(prog="services", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "promote", *HURTS])
    parser.add_argument(
        "names", nargs="*", help=f"which servers; default {' '.join(each.name for each in SERVERS if each.by_default)}"
    )
    parser.add_argument("--folder", type=Path, default=addresses.default_folder(), help="everything is kept in it")
    parser.add_argument("--member", type=int, metavar="NUMBER", help="one of a server's, from 1 on")
    asked = parser.parse_args(arguments)
    known = {server.name for server in SERVERS}
    if unknown := set(asked.names) - known:
        parser.error(f"no server {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    named = [server for server in SERVERS if server.name in asked.names]
    if asked.action == "stop":
        return stop_all(named or SERVERS, asked.folder)
    chosen = named or [server for server in SERVERS if server.by_default]
    if asked.member or asked.action == "promote":
        one = chosen[0]
        if len(chosen) > 1 or not isinstance(one, Several) or asked.member not in range(1, one.count + 1):
            parser.error("--member NUMBER goes with one server that has several")
        return member(asked.action, one, asked.member, asked.folder)
    if asked.action in HURTS:
        return hurt(asked.action, chosen, asked.folder)
    return start(chosen, asked.folder) if asked.action == "start" else status(chosen, asked.folder)


def start(servers: Sequence[Server], folder: Path) -> int:
    """Install what is missing, then start together what does not run yet."""
    with _alone(folder):
        kept = addresses.read(folder)
        waiting = [each for each in servers if not _is_up(kept.get(each.name))]
        ready = {each.name: "runs already" for each in servers if each not in waiting}
        failures = {}
        for server in waiting:
            try:
                if packages := server.packages():
                    print(f"{server.name}: installing {' '.join(packages)}", flush=True)
                    install(packages)
            except CannotStart as error:
                failures[server.name] = str(error)
        started = time.monotonic()
        with ThreadPoolExecutor(len(servers)) as pool:
            begun = {
                # where it listened when it was killed: its clients look for it there
                each.name: pool.submit(each.start, folder / each.name, kept[each.name].port if each.name in kept else 0)
                for each in waiting
                if each.name not in failures
            }
            for name, future in begun.items():
                try:
                    running = future.result()
                except CannotStart as error:
                    failures[name] = str(error)
                    continue
                kept[name] = Kept(running.processes, running.address)
                addresses.write(folder, kept)
                ready[name] = f"ready after {time.monotonic() - started:.1f} s"
        for name, how in ready.items():
            pids = " ".join(str(each.pid) for each in kept[name].processes)
            print(f"{name}: {how}, port {kept[name].address.get('port')}, pid {pids}")
        for name, failure in failures.items():
            print(f"{name}: NOT STARTED: {failure}", file=sys.stderr)
        print(f"addresses and passwords: {addresses.path(folder)}")
    return 1 if failures else 0


def stop_all(servers: Sequence[Server], folder: Path) -> int:
    """Stop what we started and still runs, exactly that."""
    if not folder.exists():
        return 0
    with _alone(folder):
        kept = addresses.read(folder)
        for server in servers:
            if server.name in kept:
                was_up = _is_up(kept[server.name])
                stop(kept.pop(server.name).processes)
                addresses.write(folder, kept)
                print(f"{server.name}: {'stopped' if was_up else 'had ended'}")
    return 0


def hurt(action: str, servers: Sequence[Server], folder: Path) -> int:
    """End them as a power cut would, or let them stand still, or go on. One that was killed is started by `start`."""
    missing = 0
    with _alone(folder):
        kept = addresses.read(folder)
        for server in servers:
            if server.name not in kept:
                missing = 1
                print(f"{server.name}: was not started", file=sys.stderr)
            elif action == "kill":
                kill(kept[server.name].processes)
            else:
                pause(kept[server.name].processes, action == "pause")
    return missing


def member(action: str, server: Several, number: int, folder: Path) -> int:
    """Do it to one of several."""
    with _alone(folder):
        kept = addresses.read(folder)
        if server.name not in kept:
            print(f"{server.name}: was not started", file=sys.stderr)
            return 1
        processes = list(kept[server.name].processes)
        mine = processes[number - 1]
        try:
            if action == "kill":
                kill([mine])
            elif action in HURTS:
                pause([mine], action == "pause")
            elif action == "promote":
                server.promote(folder / server.name, processes, number)
            elif not alive(mine):
                processes[number - 1] = server.start_one(folder / server.name, processes, number)
                addresses.write(folder, {**kept, server.name: Kept(processes, kept[server.name].address)})
        except CannotStart as error:
            print(f"{server.name}: NOT DONE: {error}", file=sys.stderr)
            return 1
    return 0


def status(servers: Sequence[Server], folder: Path) -> int:
    """What runs, as JSON without passwords."""
    kept = addresses.read(folder)
    shown = {
        each.name: {"up": _is_up(kept.get(each.name)), "port": kept[each.name].address.get("port")}
        if each.name in kept
        else {"up": False}
        for each in servers
    }
    print(json.dumps(shown, indent=2))
    return 0 if all(each["up"] for each in shown.values()) else 1


def _is_up(kept: Kept | None) -> bool:
    return kept is not None and all(alive(process) for process in kept.processes)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time: two that start together would make two of each."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise SystemExit(f"{folder} is somebody else's: name another with --folder")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
