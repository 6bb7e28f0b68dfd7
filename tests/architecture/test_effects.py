"""Where the world gets in: one module reads the environment, one touches time and entropy. Read from the sources."""

import ast
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tallystick"
MODULES = sorted(SOURCE.rglob("*.py"))

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv", "dotenv", "pydantic_settings"}
CLOCK_AND_ENTROPY = {
    "time",
    "random",
    "secrets",
    "os.urandom",
    "os.getrandom",
    "uuid.uuid1",
    "uuid.uuid4",
    "numpy.random unseeded",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
}
SYSTEM = {"tallystick.clock.SystemClock", "tallystick.clock.system_entropy", "tallystick.blockfile.disk.SystemDisk"}

# Each line is a decision; add one only with its reason.
ENVIRONMENT_ALLOWED = {"settings.py": {"pydantic_settings", "os.environ"}}
CLOCK_ALLOWED = {
    "clock.py": {"time", "os.urandom"},
    # a generator seeded by the test, so that the same seed fails the same way again
    "blockfile/platter.py": {"random"},
    "blockfile/simulated.py": {"random"},
    "conformance/intake.py": {"random"},
    "conformance/journal.py": {"random"},
    "lab/bank_day.py": {"random"},
    "lab/seeding.py": {"random"},
    "lab/simulated_broker.py": {"random"},
    "lab/simulated_clients.py": {"random"},
    "lab/simulated_post.py": {"random"},
    "lab/simulated_world.py": {"random"},
    "lab/simulation.py": {"random"},
    "lab/torture/clients.py": {"random"},
    "lab/torture/orders.py": {"random"},
    "lab/torture/run.py": {"random"},
    "lab/torture/servers.py": {"random"},
    "lab/torture/wounds.py": {"random"},
}
# The SDK's clients are wired where they are made: in somebody else's program.
CLIENTS = ("client/asynchronous.py", "client/notifications.py", "client/synchronous.py")
SYSTEM_ALLOWED_IN = ("compose/", "lab/", "cli/", "conformance/", "clock.py", "blockfile/disk.py", *CLIENTS)


@cache
def names_used(path):
    """Every imported module, and every dotted name that is read, with import aliases undone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases, used = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                aliases[each.asname or each.name.split(".")[0]] = each.name if each.asname else each.name.split(".")[0]
                used.add(each.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                aliases[each.asname or each.name] = f"{node.module}.{each.name}"
                used.update((node.module, f"{node.module}.{each.name}"))
    for node in ast.walk(tree):
        dotted = _dotted(node)
        if dotted:
            head, _, rest = dotted.partition(".")
            if head in aliases:
                used.add(f"{aliases[head]}.{rest}" if rest else aliases[head])
    # From NumPy's global generator, or for a generator without a seed, entropy is drawn.
    drawn = any(name.startswith("numpy.random.") and name.split(".")[2] not in SEEDED for name in used)
    if drawn or any(_without_seed(node) for node in ast.walk(tree)):
        used.add("numpy.random unseeded")
    return used


SEEDED = {"default_rng", "Generator", "PCG64", "SeedSequence"}
"""Of numpy.random, what depends on nothing but its seed, where it is given one."""


def _without_seed(node):
    if isinstance(node, ast.Call) and not node.args and not node.keywords:
        return (_dotted(node.func) or "").endswith(("random.default_rng", "PCG64", "SeedSequence"))
    return False


def _dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inside = _dotted(node.value)
        return f"{inside}.{node.attr}" if inside else None
    return None


def found(path, wanted):
    return {name for name in wanted for used in names_used(path) if used == name or used.startswith(f"{name}.")}


def relative(path):
    return path.relative_to(SOURCE).as_posix()


def violations(wanted, allowed):
    every = {relative(path): found(path, wanted) - allowed.get(relative(path), set()) for path in MODULES}
    return {name: names for name, names in every.items() if names}


def test_only_settings_reads_the_environment():
    assert violations(ENVIRONMENT, ENVIRONMENT_ALLOWED) == {}


def test_only_clock_touches_time_and_entropy():
    assert violations(CLOCK_AND_ENTROPY, CLOCK_ALLOWED) == {}


def test_the_real_clock_entropy_and_disk_are_named_where_things_are_wired_only():
    assert [name for name in violations(SYSTEM, {}) if not name.startswith(SYSTEM_ALLOWED_IN)] == []


def test_every_exception_is_still_needed():
    for allowed, wanted in ((ENVIRONMENT_ALLOWED, ENVIRONMENT), (CLOCK_ALLOWED, CLOCK_AND_ENTROPY)):
        for name, exceptions in allowed.items():
            assert exceptions <= found(SOURCE / name, wanted), name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import time", {"time"}),
        ("import time as t\nt.sleep(1)", {"time"}),
        ("from time import monotonic as m", {"time"}),
        ("from os import urandom", {"os.urandom"}),
        ("import os\nos.urandom(1)", {"os.urandom"}),
        ("import os as o\ndef f():\n    return o.environ.get('A')", {"os.environ"}),
        ("from datetime import datetime\ndatetime.now()", {"datetime.datetime.now"}),
        ("import numpy as np\nnp.random.default_rng()", {"numpy.random unseeded"}),
        ("import numpy as np\nnp.random.rand(3)", {"numpy.random unseeded"}),
        ("import numpy as np\nnp.random.default_rng(7)", set()),
        ("import os\nos.path.join('a')", set()),
        ("from tallystick.ledger import times", set()),
    ],
)
def test_the_walk_sees_through_aliases(tmp_path, line, expected):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert found(path, ENVIRONMENT | CLOCK_AND_ENTROPY) == expected
