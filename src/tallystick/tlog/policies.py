"""The policy: which logs are believed, and which witnesses must have cosigned (c2sp.org/tlog-policy).

log      <vkey> [<url>]
witness  <name> <vkey> [<url>]
group    <name> all|any|<k> <name>…
quorum   <name>|none
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import Checkpoint, decimal, parse_checkpoint
from tallystick.tlog.keys import Kind, VerifierKey, parse_vkey
from tallystick.tlog.notes import Note, Signer, opened

NONE = "none"


@dataclass(frozen=True, slots=True)
class Witness:
    """Who cosigns: by one key, asked at `url` if there is one."""

    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups, of which at least `wanted` must have witnessed."""

    wanted: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What makes a checkpoint good. `quorum` names a witness or a group; `none` asks for the log's signature alone."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str = NONE

    def of(self, origin: str) -> "Policy":
        """The same for one log alone: witnesses and quorum, and of the logs' keys those of this origin."""
        return replace(self, logs=tuple(key for key in self.logs if key.name == origin))

    def witnessed(self, signers: list[Signer]) -> bool:
        """Whether the quorum is among those who signed."""
        return self.quorum == NONE or self._has(self.quorum, {signer.key for signer in signers})

    def _has(self, name: str, keys: set[VerifierKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in keys
        group = self.groups[name]
        return sum(self._has(member, keys) for member in group.members) >= group.wanted


@dataclass(frozen=True, slots=True)
class Believed:
    """A checkpoint that a policy finds good, and who stands for it."""

    checkpoint: Checkpoint
    signers: tuple[Signer, ...]
    witnessed: bool
    """Whether the policy asks for a quorum, which then is among them."""


def believe(note: Note, policy: Policy) -> Believed:
    """The checkpoint of a note, if a log of the policy signed it by its origin and the quorum cosigned it.

    Raises `InvalidProof`. A policy cannot ask for two keys of one log at once: who wants that looks at `signers`.
    """
    keys = [*policy.logs, *(witness.key for witness in policy.witnesses.values())]
    signers = opened(note, keys)
    checkpoint = parse_checkpoint(note.text)
    if not any(signer.key in policy.logs and signer.key.name == checkpoint.origin for signer in signers):
        raise InvalidProof(f"no key of the log {checkpoint.origin} that is trusted here signed its checkpoint")
    if not policy.witnessed(signers):
        there = ", ".join(signer.key.name for signer in signers if signer.key not in policy.logs) or "nobody"
        raise InvalidProof(f"the quorum {policy.quorum} is not reached: {there} cosigned")
    return Believed(checkpoint, tuple(signers), policy.quorum != NONE)


def parse_policy(text: str) -> Policy:
    """A policy from its text. Raises `InvalidProof` naming the line."""
    if any(sign < " " and sign not in "\t\n" for sign in text) or "\x7f" in text:
        raise InvalidProof("a policy has no control characters but tabs and newlines")
    logs: list[VerifierKey] = []
    witnesses: dict[str, Witness] = {}
    groups: dict[str, Group] = {}
    members: set[str] = set()
    quorum = ""
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            match words:
                case ["log", vkey, *url] if len(url) <= 1:
                    logs.append(_distinct(parse_vkey(vkey), {key.public for key in logs}, (Kind.ED25519, Kind.MLDSA44)))
                case ["witness", name, vkey, *url] if len(url) <= 1:
                    _new(name, witnesses, groups)
                    taken = {witness.key.public for witness in witnesses.values()}
                    key = _distinct(parse_vkey(vkey), taken, (Kind.ED25519_COSIGNATURE, Kind.MLDSA44))
                    witnesses[name] = Witness(key, *url)
                case ["group", name, wanted, first, *others]:
                    _new(name, witnesses, groups)
                    groups[name] = _group(wanted, (first, *others), witnesses.keys() | groups.keys(), members)
                    members |= {first, *others}
                case ["quorum", name] if not quorum:
                    if name != NONE and name not in witnesses and name not in groups:
                        raise InvalidProof(f"nothing above is called {name}")
                    quorum = name
                case _:
                    raise InvalidProof("this is no line of a policy, or a second quorum")
        except InvalidProof as error:
            raise InvalidProof(f"line {number} of the policy: {error}") from error
    if not quorum:
        raise InvalidProof("a policy says which quorum it wants, if only `quorum none`")
    return Policy(tuple(logs), witnesses, groups, quorum)


def _distinct(key: VerifierKey, taken: set[bytes], kinds: tuple[Kind, ...]) -> VerifierKey:
    if key.public in taken:
        raise InvalidProof(f"the key of {key.name} stands there twice")
    if key.kind not in kinds:
        raise InvalidProof(f"a key of this kind signs nothing here: {key.name}")
    return key


def _new(name: str, witnesses: Mapping[str, Witness], groups: Mapping[str, Group]) -> None:
    if name in witnesses or name in groups or name == NONE:
        raise InvalidProof(f"the name {name} is taken")


def _group(wanted: str, names: tuple[str, ...], known: set[str], members: set[str]) -> Group:
    for name in names:
        if name not in known:
            raise InvalidProof(f"nothing above is called {name}")
        if name in members or names.count(name) > 1:
            raise InvalidProof(f"{name} is a member already, and would count twice")
    count = {"any": 1, "all": len(names)}.get(wanted)
    count = decimal(wanted, "how many of a group") if count is None else count
    if not 1 <= count <= len(names):
        raise InvalidProof(f"{count} of {len(names)} cannot be")
    return Group(count, names)
