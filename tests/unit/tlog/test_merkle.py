"""Proofs made are proofs that verify, and nothing else verifies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import InvalidProof
from tallystick.tlog import merkle
from tests.unit.tlog import trees

SIZES = st.integers(1, 700)
TREE = trees.tree(700)
LEAVES = [trees.leaves(700)[at : at + 32] for at in range(0, 700 * 32, 32)]


def tampered(hashes, at, bit):
    return [*hashes[:at], bytes([hashes[at][0] ^ 1 << bit]) + hashes[at][1:], *hashes[at + 1 :]]


@settings(max_examples=60)
@given(SIZES)
def test_the_root_is_that_of_the_definition(size):
    assert merkle.root(size, TREE.node) == trees.naive_root(LEAVES[:size])


@settings(max_examples=150)
@given(SIZES, st.data())
def test_an_inclusion_proof_verifies_and_any_change_of_it_does_not(size, data):
    index = data.draw(st.integers(0, size - 1))
    root, leaf = merkle.root(size, TREE.node), LEAVES[index]
    proof = merkle.inclusion_proof(index, size, TREE.node)
    merkle.verify_inclusion(index, size, leaf, proof, root)
    wrong = [
        (index, size, LEAVES[index + 1 if index < 699 else 0], proof, root),
        (index, size, leaf, [*proof, leaf], root),
        (index, size, leaf, [leaf, *proof], root),
        (size, size, leaf, proof, root),
        (-1, size, leaf, proof, root),
        (index, size, leaf, proof, leaf[::-1]),
        (index, size, leaf[:31], proof, root),
    ]
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 7))
        wrong += [
            (index, size, leaf, tampered(proof, at, bit), root),
            (index, size, leaf, proof[:-1], root),
            (index, size, leaf, proof[1:], root),
            (index ^ 1, size, leaf, proof, root),
        ]
    for case in wrong:
        with pytest.raises(InvalidProof):
            merkle.verify_inclusion(*case)


@pytest.mark.parametrize(("claimed", "said"), [(8, "too short"), (2, "too long")])
def test_a_proof_of_another_trees_length_is_refused_though_its_root_fits(claimed, said):
    proof = merkle.inclusion_proof(0, 4, TREE.node)
    with pytest.raises(InvalidProof, match=said):
        merkle.verify_inclusion(0, claimed, LEAVES[0], proof, merkle.root(4, TREE.node))


@settings(max_examples=150)
@given(SIZES, st.data())
def test_a_consistency_proof_verifies_and_any_change_of_it_does_not(new, data):
    old = data.draw(st.integers(1, new))
    old_root, new_root = merkle.root(old, TREE.node), merkle.root(new, TREE.node)
    proof = merkle.consistency_proof(old, new, TREE.node)
    merkle.verify_consistency(old, new, old_root, new_root, proof)
    wrong = [
        (old, new, old_root, new_root, [*proof, old_root]),
        (old, new, old_root[::-1], new_root, proof),
        (old, new, old_root, new_root[::-1], proof),
        (0, new, merkle.EMPTY_ROOT, new_root, []),
        (new + 1, new, old_root, new_root, proof),
    ]
    if old < new:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 7))
        wrong += [
            (old, new, old_root, new_root, tampered(proof, at, bit)),
            (old, new, old_root, new_root, proof[:-1]),
            (old, new, old_root, new_root, []),
            (old, new, new_root, old_root, proof),
        ]
    for case in wrong:
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(*case)


@pytest.mark.parametrize("sizes", [(0, 5), (6, 5)])
def test_no_consistency_proof_is_made_where_none_can_be(sizes):
    with pytest.raises(ValueError, match="no consistency proof"):
        merkle.consistency_proof(*sizes, TREE.node)


def test_a_leaf_can_never_pass_for_a_node():
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)
