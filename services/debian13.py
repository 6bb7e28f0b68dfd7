"""A newer RabbitMQ beside Debian 12's: packages of Debian 13, unpacked into a folder and run with that as their root.

Nothing of them is installed: they want newer system libraries than the machine has. Only root may run what is in there.
The folder is one for all checkouts; only `make services` fetches it, from where the machine gets its own packages.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.server import CannotStart

RELEASE = "trixie"
PACKAGES = ("rabbitmq-server", "base-files", "dash", "coreutils", "sed", "grep", "mawk")
"""The broker, and what its scripts take for granted; dependencies come along."""
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
"""
"""The machine's own settings, of proxies say, are read beside it."""


def root() -> Path:
    """The folder, there or not."""
    return Path(tempfile.gettempdir()) / f"tallystick-debian13-{os.getuid()}"


def is_there() -> bool:
    """Whether it is, and ours: anybody may make folders beside it."""
    return root().exists() and root().stat().st_uid == os.getuid()


def broker_scripts() -> Path | None:
    """The folder of the broker's scripts as seen from in there; None if it cannot be run here."""
    found = sorted(root().glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")) if is_there() else []
    return Path("/") / found[-1].relative_to(root()) if found and os.geteuid() == 0 else None


def fetch() -> None:
    """Download and unpack it: 66 MB, then 180 MB; 10 s. Raises `CannotStart`."""
    if is_there():
        return
    if os.geteuid() != 0:
        raise CannotStart("only root may run a system in a folder")
    if not shutil.which("apt-get") or not KEYS.exists():
        raise CannotStart("there is no apt-get here, or it does not know Debian's keys")
    scratch = root().with_suffix(".fetching")
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (scratch / name).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYS}] {_mirror()} {RELEASE} main\n")
    configuration = scratch / "apt.conf"
    configuration.write_text(CONFIGURATION.format(folder=scratch))
    asked = {"APT_CONFIG": str(configuration)}
    _run(["apt-get", "-q", "update"], **asked)
    _run(["apt-get", "-q", "-y", "--download-only", "install", *PACKAGES], **asked)
    for package in sorted((scratch / "cache" / "archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(scratch / "root")])
    (scratch / "root" / "usr" / "bin" / "awk").symlink_to("mawk")  # as its installation would
    (scratch / "root" / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (scratch / "root").rename(root())
    shutil.rmtree(scratch)


def inside(command: Sequence[str], folder: Path) -> list[str]:
    """The command line that runs `command` in there, where `folder` is at the same place as outside."""
    here = f"{root()}{folder}"
    script = (
        f'mkdir -p "{here}" && mount --bind "{folder}" "{here}" && mount --bind /proc "{root()}/proc" '
        f'&& mount --bind /dev "{root()}/dev" && exec chroot "{root()}" "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh", *command]


def _mirror() -> str:
    """Where the machine gets packages of its own Debian."""
    for policy in _run(["apt-cache", "policy"]).split():
        if policy.startswith(("http://", "https://")) and policy.rstrip("/").endswith("/debian"):
            return policy
    return "http://deb.debian.org/debian"


def _run(command: Sequence[str], **environment: str) -> str:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **environment}
    done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise CannotStart(f"{' '.join(command[:2])} failed: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout
