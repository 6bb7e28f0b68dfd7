"""Break one promise at a time and see whether its tests notice: `python tests/mutants/run.py [NAME…]`.

Each mutant is applied to a copy of the tree, never to the tree itself. First the unchanged copy must pass every
test that a mutant names. Exit code 0: all were caught; 1: one survived, or no longer applies.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from services import kafka, postgresql, rabbitmq  # noqa: E402
from tallystick.compose import kernel_cache  # noqa: E402
from tests.mutants.table import MUTANTS, Mutant  # noqa: E402

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", ".*cache*", "__pycache__", ".hypothesis", "dist", "tally-data"
)
RUN_S_MAX = 900
UNCHANGED_S_MAX = 3_000
"""All tests of all mutants, a file each beside another."""
TRIES = 2
"""For a run that proves nothing about a mutant, and for the unchanged tree: what fails once in many runs, on a busy
machine, shall not end all the others. It is told, and tried again."""
TEST_S_MAX = 300
"""More than tests have otherwise: the first one may compile the kernel, and a time-out proves nothing."""
PASSED, FAILED = 0, 1
"""pytest's exit codes when tests ran; any other code proves nothing about a mutant."""
AS_IN_CI = {"CI": "", "BUILD_NUMBER": ""}
"""Set, so that Hypothesis draws the same in each run; but empty, or pytest works out the whole difference of what is
not equal: ten minutes for two lists of some thousand entries, which end in a time-out."""
SKIPPED = "SKIPPED ["
"""How pytest tells of each test that did not run: a server did not start, say."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    caught: bool
    said: str  # the test that noticed, or what went wrong
    seconds: float


class DoesNotApply(Exception):
    """The text to change is not there exactly once."""


def apply(mutant: Mutant, root: Path) -> None:
    """Make the change below `root`. Raises `DoesNotApply` unless the old text stands there exactly once."""
    path = root / mutant.file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(mutant.old) != 1:
        raise DoesNotApply(f"its old text stands {text.count(mutant.old)} times in {mutant.file}")
    if mutant.old == mutant.new:
        raise DoesNotApply("it changes nothing")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def copy(root: Path, to: Path) -> Path:
    """The tree without what can be made again."""
    return Path(shutil.copytree(root, to, ignore=LEFT_OUT))


def kernel_hash(root: Path) -> str:
    """Names a cache of compiled code: Numba's own check would keep what a change in another file made stale."""
    return kernel_cache.fingerprint(root / "src" / "tallystick")[:16]


def run_tests(
    root: Path,
    tests: Sequence[str],
    caches: Path,
    interpreted: bool = False,
    limit_s: int = RUN_S_MAX,
    more: Sequence[str] = (),
) -> tuple[int, str]:
    """pytest's exit code and output, with the sources of `root` and a kernel cache of exactly those, or interpreted."""
    environment = {
        **os.environ,
        **AS_IN_CI,
        "PYTHONPATH": str(root / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(caches / kernel_hash(root)),
        "NUMBA_DISABLE_JIT": str(int(interpreted)),
        "PYTEST_TIMEOUT": str(TEST_S_MAX),
    }
    options = ["-x", "-q", "-rfEs", "--no-header", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *more, *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {limit_s} s"
    return done.returncode, done.stdout + done.stderr


def imports_the_copy(root: Path) -> bool:
    """Whether a program started like the tests imports the copy, not the tree that is installed."""
    said = subprocess.run(
        [sys.executable, "-c", "import tallystick; print(tallystick.__file__)"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return Path(said.strip()).is_relative_to(root)


def judge(mutant: Mutant, root: Path, folder: Path, places: "SimpleQueue[Path]") -> Verdict:
    """Break a copy of `root` and run the mutant's tests there.

    The copy stands at one of `places`: Numba finds again what it compiled from sources at the same path only.
    """
    place = places.get()
    started = time.monotonic()

    def verdict(caught: bool, said: str) -> Verdict:
        return Verdict(mutant, caught, said, time.monotonic() - started)

    tree = copy(root, place)
    try:
        apply(mutant, tree)
        for _ in range(TRIES):
            code, output = run_tests(tree, mutant.tests, folder / "caches", mutant.interpreted)
            if code == FAILED or (code == PASSED and SKIPPED not in output):
                break
    except DoesNotApply as error:
        return verdict(False, str(error))
    finally:
        shutil.rmtree(tree)
        places.put(place)
    if code == FAILED:
        return verdict(True, next(_failures(output), "a test failed"))
    if SKIPPED in output:
        return verdict(False, f"a test was skipped, which proves nothing: {output.strip()[-400:]}")
    if code == PASSED:
        return verdict(False, "SURVIVED: its tests pass")
    return verdict(False, f"pytest ended with {code}, which proves nothing: {output.strip()[-400:]}")


def _failures(output: str) -> Iterator[str]:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            yield line.split(" - ")[0].removeprefix("FAILED ").split("::", 1)[-1]


def run(mutants: Sequence[Mutant], root: Path = ROOT, workers: int = 2) -> int:
    """Judge these mutants and print a table. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="tallystick-mutants-") as name:
        folder = Path(name).resolve()
        places: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            places.put(folder / f"tree-{number}")
        whole = copy(root, folder / "tree-0")
        if not imports_the_copy(whole):
            print("the tests would import another tree than the copy")
            return 1
        for interpreted in sorted({mutant.interpreted for mutant in mutants}):
            tests = sorted({test for mutant in mutants if mutant.interpreted is interpreted for test in mutant.tests})
            print(f"unchanged{', interpreted' * interpreted}: {len(tests)} test paths", flush=True)
            for _ in range(TRIES):
                beside = ("-p", "xdist", "-n", str(workers), "--dist", "loadfile") if len(tests) > 1 else ()
                code, output = run_tests(whole, tests, folder / "caches", interpreted, UNCHANGED_S_MAX, beside)
                if code == 0:
                    break
                print(f"the unchanged tree fails its tests (pytest ended with {code}):\n{output[-4000:]}", flush=True)
            else:
                return 1
        shutil.rmtree(whole)
        width = max(len(mutant.name) for mutant in mutants)
        with ThreadPoolExecutor(workers) as pool:
            verdicts = []
            for verdict in pool.map(lambda mutant: judge(mutant, root, folder, places), mutants):
                verdicts.append(verdict)
                word = "caught" if verdict.caught else "NOT CAUGHT"
                print(f"{verdict.mutant.name:{width}}  {word:10}  {verdict.seconds:5.1f} s  {verdict.said}", flush=True)
    left = [verdict for verdict in verdicts if not verdict.caught]
    for verdict in left:
        print(
            f"\nnot caught: {verdict.mutant.name}\n  promise: {verdict.mutant.promise}\n  file: {verdict.mutant.file}"
            f"\n  {verdict.said}"
        )
    print(f"\n{len(verdicts) - len(left)} of {len(verdicts)} mutants caught")
    return 1 if left else 0


def chosen(names: Sequence[str], table: Sequence[Mutant] = MUTANTS) -> list[Mutant]:
    """The mutants of these names, or all. Raises `SystemExit` for a name that is not in the table."""
    known = {mutant.name: mutant for mutant in table}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no such mutant: {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names] if names else list(table)


def possible(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Those whose servers can be had here; says which cannot."""
    there = {"postgresql": postgresql.programs(), "rabbitmq": rabbitmq.scripts(), "kafka": kafka.has_jars()}
    away = {name for name, found in there.items() if not found}
    for mutant in mutants:
        if mutant.needs in away:
            print(f"SKIPPED, no {mutant.needs} here: {mutant.name}", flush=True)
    return [mutant for mutant in mutants if mutant.needs not in away]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run; all if none is named")
    parser.add_argument("--workers", type=int, default=2, help="how many at once")
    given = parser.parse_args()
    sys.exit(run(possible(chosen(given.names)), workers=given.workers))
