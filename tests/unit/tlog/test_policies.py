"""Which checkpoints a policy believes; attacks 12 and 19."""

import pytest

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.keys import Kind
from tallystick.tlog.notes import signed
from tallystick.tlog.policies import believe, parse_policy
from tests.unit.tlog.trees import ORIGIN, key

LOG, LOG_PQ = key(), key(kind=Kind.MLDSA44, seed=2)
W1, W2, W3 = (key(f"w{seed}.example", Kind.ED25519_COSIGNATURE, seed) for seed in (11, 12, 13))
W4 = key("w14.example", Kind.MLDSA44, 14)
CHECKPOINT = Checkpoint(ORIGIN, 5, bytes(32))
TWO_OF_THREE = f"""
# who watches us
log {LOG.verifier.vkey} https://log.example/ledger-0
log {LOG_PQ.verifier.vkey}
witness a {W1.verifier.vkey} https://w1.example
\twitness  b\t{W2.verifier.vkey}
witness c {W4.verifier.vkey}
group two 2 a b c
quorum two
"""


def note(*keys):
    return signed(CHECKPOINT.body, keys, 1_700_000_000)


@pytest.mark.parametrize("keys", [(LOG, W1, W2), (LOG, W1, W4), (LOG_PQ, W4, W2), (LOG, LOG_PQ, W1, W2, W4)])
def test_a_log_and_a_quorum_are_believed(keys):
    believed = believe(note(*keys), parse_policy(TWO_OF_THREE))
    assert believed.checkpoint == CHECKPOINT
    assert {signer.key for signer in believed.signers} == {key.verifier for key in keys}


@pytest.mark.parametrize("keys", [(LOG,), (LOG, W1), (LOG, W1, W3), (LOG, LOG_PQ, W4)])
def test_a_minority_of_witnesses_is_no_quorum(keys):
    with pytest.raises(InvalidProof, match="quorum two is not reached"):
        believe(note(*keys), parse_policy(TWO_OF_THREE))


def test_witnesses_without_a_log_are_not_believed():
    with pytest.raises(InvalidProof, match="no key of the log"):
        believe(note(W1, W2, W4), parse_policy(TWO_OF_THREE))


def test_a_log_signs_for_its_own_origin_alone():
    other = key("log.example/another", seed=5)
    policy = parse_policy(f"log {other.verifier.vkey}\nlog {LOG.verifier.vkey}\nquorum none\n")
    assert believe(note(LOG), policy)
    with pytest.raises(InvalidProof, match="no key of the log"):
        believe(note(other), policy)


def test_the_policy_of_one_log_has_the_same_witnesses_and_no_key_of_another():
    other = key("log.example/ledger-0/control", seed=7)
    policy = parse_policy(TWO_OF_THREE + f"log {other.verifier.vkey}\n")
    of_other = policy.of(other.name)
    assert of_other.logs == (other.verifier,)
    assert (of_other.witnesses, of_other.groups, of_other.quorum) == (policy.witnesses, policy.groups, policy.quorum)
    body = Checkpoint(other.name, 5, bytes(32)).body
    assert believe(signed(body, [other, W1, W2], 1), of_other).witnessed
    with pytest.raises(InvalidProof):
        believe(signed(body, [other, W1], 1), of_other)
    assert policy.of("log.example/none").logs == ()


def test_a_witness_that_signed_twice_counts_once():
    with pytest.raises(InvalidProof, match="quorum two is not reached"):
        believe(note(LOG, W1, W1), parse_policy(TWO_OF_THREE))


@pytest.mark.parametrize(("wanted", "count"), [("any", 1), ("all", 3), ("2", 2), ("1", 1), ("3", 3)])
def test_a_group_wants_as_many_as_it_says(wanted, count):
    policy = parse_policy(TWO_OF_THREE.replace("two 2 ", f"two {wanted} "))
    witnesses = (W1, W2, W4)
    assert believe(note(LOG, *witnesses[:count]), policy)
    with pytest.raises(InvalidProof):
        believe(note(LOG, *witnesses[: count - 1]), policy)


def test_groups_of_groups_are_counted_by_group():
    policy = parse_policy(
        TWO_OF_THREE.replace("group two 2 a b c", f"witness d {W3.verifier.vkey}\ngroup x any a b\ngroup two all x d")
    )
    assert believe(note(LOG, W2, W3), policy)
    with pytest.raises(InvalidProof):
        believe(note(LOG, W1, W2), policy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("quorum two", ""), "which quorum"),
        (lambda text: text + "quorum none\n", "a second quorum"),
        (lambda text: text.replace("quorum two", "quorum three"), "nothing above is called three"),
        (lambda text: text.replace("2 a b c", "2 a b d"), "nothing above is called d"),
        (lambda text: text.replace("2 a b c", "0 a b c"), "0 of 3"),
        (lambda text: text.replace("2 a b c", "4 a b c"), "4 of 3"),
        (lambda text: text.replace("2 a b c", "-1 a b c"), "how many of a group"),
        (lambda text: text.replace("2 a b c", "02 a b c"), "how many of a group"),
        (lambda text: text.replace("2 a b c", "2 a a c"), "count twice"),
        (lambda text: text.replace("quorum two", "group more all two a\nquorum more"), "count twice"),
        (lambda text: text.replace("witness c", "witness a"), "is taken"),
        (lambda text: text.replace("witness c", "witness none"), "is taken"),
        (lambda text: text.replace(W2.verifier.vkey, W1.verifier.vkey), "stands there twice"),
        (lambda text: text.replace(W2.verifier.vkey, LOG.verifier.vkey), "signs nothing here"),
        (lambda text: text.replace(LOG.verifier.vkey, W3.verifier.vkey), "signs nothing here"),
        (lambda text: text.replace("\n", "\r\n"), "control characters"),
        (lambda text: text.replace("# who", "// who"), "line 2 of the policy"),
        (lambda text: text.replace("https://w1.example", "https://w1.example # ours"), "no line of a policy"),
    ],
)
def test_a_policy_that_says_something_else_is_refused_with_its_line(change, said):
    with pytest.raises(InvalidProof, match=said):
        parse_policy(change(TWO_OF_THREE))
