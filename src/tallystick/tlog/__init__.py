"""Transparency logs, pure: the tree, its tiles, signed notes, checkpoints, cosignatures, receipts, policies.

The formats are those of C2SP (c2sp.org/tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature, tlog-proof,
tlog-policy) on the tree of RFC 6962 and RFC 9162, so that strangers verify with programs that are not ours. Nothing
here knows of payments, files or clocks. What does not verify raises `InvalidProof`; no function returns a bool that
someone may ignore.
"""
