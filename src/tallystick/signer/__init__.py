"""The signer: holds the log's keys and the last checkpoint it signed, and signs only what adds to that.

Whoever writes the journal cannot get a rewritten history signed: the signer is a process of its own with a state of its
own, and believes nothing but consistency proofs.
"""
