"""The data folder and what runs on it: keys, journal, lanes, processes, followers."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from tallystick.doctor.finding import Finding, fine, look, to_fix
from tallystick.journal.progress import Lag, ProgressFile
from tallystick.records.blocks import LANES_MAX

LAG_S_LOOK = 60.0
SILENT_S_LOOK = 60.0
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def journal(entries: int, problem: str, is_away: bool = False) -> Finding:
    """Whether the end of the journal can be read; `is_away`: it is in a database that cannot be used now."""
    if is_away:
        return to_fix("journal", problem, "see docs/postgresql.md; nothing is lost, and what waits goes on by itself")
    if problem:
        fix = "see docs/recovery.md: restore from a backup; delete nothing by hand"
        return to_fix("journal", problem, fix)
    return fine("journal", f"{entries:,} entries, and the last block is whole" if entries else "no entry yet")


def scrub(damaged_entry: int | None) -> Finding:
    """What reading the journal again in the background has found."""
    if damaged_entry is not None:
        fix = "runbook TallyJournalDamaged in docs/operations.md: make a backup now, then restore that segment"
        return to_fix("scrub", f"the block at entry {damaged_entry:,} cannot be read", fix)
    return fine("scrub", "no damage found so far")


def archive(where: str | None, entries: int, signed: int, problem: str, same_disk: bool) -> Finding:
    """Whether a journal restored from a backup could go on: only an archive has what was signed after the backup.

    `entries`: how far the archive reaches; `signed`: how far the log was signed.
    """
    if where is None:
        fix = "set TALLY_ARCHIVE to a folder on another disk: without it, what was signed since the last backup is lost"
        return look("archive", "there is none, so a restored journal may not go on: that would fork the log", fix)
    if problem:
        return to_fix("archive", problem, f"see docs/backup.md; until {where} is in order nothing new is signed")
    if entries < signed:
        fix = "`tally up` copies what is missing before it signs on; if this stays so, is it the right folder?"
        return to_fix("archive", f"{where} ends at entry {entries:,}, and {signed:,} are signed", fix)
    if same_disk:
        fix = "let TALLY_ARCHIVE be on another disk, best another machine: this one takes both with it"
        return look("archive", f"{where} is on the disk of the data folder", fix)
    return fine("archive", f"{entries:,} entries in {where}")


def services(where: str, found: Sequence[str], problem: str) -> Finding:
    """The database of `TALLY_SERVICES`; `found`: whose tables are there."""
    if problem:
        fix = "see docs/postgresql.md; payments go on, but text that comes with them, and what is noted, is refused"
        return to_fix("services", problem, fix)
    if not found:
        return look("services", f"{where} holds nothing yet", "`tally up` makes the tables")
    return fine("services", f"{', '.join(found)} are in {where}, which `tally backup` does not copy")


def crashes(count: int) -> Finding:
    """Whether the same requests crashed the engine."""
    if count:
        fix = "runbook TallyPoisoned in docs/operations.md: keep engine/crash, and report it"
        return look("crashes", f"the same requests have crashed the engine {count} times", fix)
    return fine("crashes", "no request has crashed the engine")


def lanes(count: int) -> Finding:
    """Lanes are never deleted, and a block has room for so many."""
    if count > LANES_MAX // 2:
        fix = "a disk that fails its syncs makes lanes: look at it; before the limit, report this"
        return look("lanes", f"{count:,} of at most {LANES_MAX:,}", fix)
    return fine("lanes", f"{count:,}")


def moved(to: str | None, path: Path) -> list[Finding]:
    """Whether the platform went on elsewhere."""
    if to is None:
        return []
    fix = f"start what was restored from it; if nothing was, delete {path}"
    return [to_fix("moved", f"this folder was moved away, by the backup in {to}", fix)]


def keys(path: Path, mode: int | None, scopes: Sequence[Sequence[str]], problem: str) -> Finding:
    """Who gets in."""
    if problem:
        return to_fix("keys", problem, f"restore {path} from a backup, or make new keys after moving it away")
    if mode is None or not scopes:
        return look("keys", "no API key, so nobody gets in", "`tally key new NAME` makes one")
    if mode & OTHERS:
        return look("keys", f"{path} can be read by others (mode {mode & 0o777:o})", f"chmod 600 {path}")
    return fine("keys", f"{len(scopes)} keys, {sum('pay' in each for each in scopes)} of them may pay")


def port(number: int, ours: bool, free: bool, ready: str | None) -> Finding:
    """A gateway's port. `ready`: None if nobody answers there, else "" or why it is not ready."""
    name = f"port {number}"
    if ours:
        if ready is None:
            return to_fix(name, "our gateway does not answer", "see its last lines in the log; `tally up` restarts it")
        if ready:
            return look(name, f"our gateway answers, but is not ready: {ready}", "see the other findings, then wait")
        return fine(name, "our gateway answers, and is ready")
    if not free:
        return to_fix(name, "another program listens there", "choose another with --port, or TALLY_HTTP_PORT")
    return fine(name, "free")


def processes(states: Mapping[str, tuple[str, bool, int, int | None]], supervised: bool) -> list[Finding]:
    """By name: the supervisor's word for its state, whether it runs, its starts and its last exit code."""
    if not supervised:
        return [fine("processes", "`tally up` does not run here")]
    found = []
    for name, (state, alive, starts, last_exit) in states.items():
        told = f"{state}, started {starts} times" + (f", ended with {last_exit} last" if last_exit is not None else "")
        if state == "ended":
            found.append(to_fix(name, told, "it needs a person: read its last lines in the log, then `tally up` anew"))
        elif not alive:
            found.append(look(name, told + ", and is not there now", "wait a moment, then ask again"))
        elif starts > 3:
            found.append(look(name, told, "runbook TallyRestarts in docs/operations.md"))
        else:
            found.append(fine(name, told))
    return found


def follower(said: ProgressFile, lag: Lag, running: bool, now_ns: int) -> Finding:
    """How far a follower is, by its own progress file."""
    silent_s = (now_ns - said.written_at_ns) / 1e9
    told = f"{lag.entries:,} entries and {lag.seconds:,.0f} s behind, by its word {silent_s:,.0f} s ago"
    if said.trouble:
        return look(said.name, f"{told}; it says: {said.trouble}", "runbook TallyFollowerTrouble in docs/operations.md")
    if running and silent_s > SILENT_S_LOOK:
        return look(said.name, told, "it says nothing any more: is it stopped? `kill -CONT PID`, or end it")
    if running and lag.seconds > LAG_S_LOOK:
        return look(said.name, told, "runbook TallyFollowerBehind in docs/operations.md")
    return fine(said.name, told)


def variables(unknown: Sequence[str]) -> Finding:
    """Environment variables that look like settings and are none."""
    if unknown:
        return look("settings", f"not known: {', '.join(unknown)}", "see docs/configuration.md for how it is spelled")
    return fine("settings", "every TALLY_ variable is known")
