"""`tally doctor`: is this machine, and this data folder, fit for it; and if not, what to do."""

import json
import sys

from tallystick.cli import options
from tallystick.cli.exits import Exit


def doctor(data: options.Data = None, shard: options.Shard = None, as_json: options.Json = False) -> int:
    """Look at versions, limits, memory, disk, clock, journal, keys, ports, processes and followers; say what to fix.

    Safe beside a running platform: it takes no lock, changes nothing, and needs no API key. `fix` is what does not
    work, or what money's safety depends on; `look` works, and may not under load or for long. Exit code 1 if there is
    anything to fix.

    **Examples**

    - `tally doctor`
    - `tally doctor --data /var/lib/tallystick --json`
    """
    from tallystick.compose import doctor as compose
    from tallystick.doctor.finding import Level

    findings = compose.examine(options.settings(data=data, shard=shard))
    to_fix = sum(finding.level is Level.FIX for finding in findings)
    to_look = sum(finding.level is Level.LOOK for finding in findings)
    if as_json:
        rows = [{"check": each.check, "level": each.level, "what": each.what, "fix": each.fix} for each in findings]
        sys.stdout.write(json.dumps({"to_fix": to_fix, "to_look_at": to_look, "findings": rows}) + "\n")
        return Exit.REFUSED if to_fix else Exit.DONE
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    styles = {Level.FINE: "green", Level.LOOK: "yellow", Level.FIX: "bold red"}
    width = max(len(each.check) for each in findings)
    for each in findings:
        line = Text.assemble((f"{each.level:<4}", styles[each.level]), f"  {each.check:<{width}}  {each.what}")
        console.print(line, soft_wrap=True)
        if each.fix:
            console.print(Text(f"{'':<6}{'':<{width}}  → {each.fix}"), soft_wrap=True)
    console.print(
        f"\n{to_fix} to fix, {to_look} to look at, of {len(findings)}" if to_fix or to_look else "\nall is fine"
    )
    return Exit.REFUSED if to_fix else Exit.DONE
