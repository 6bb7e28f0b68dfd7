"""The auditor: makes the journal a transparency log, entry n being leaf n, and gets its checkpoints signed.

All it keeps is made from the journal and can be made again; what cannot be made again, the signatures, is the
signer's.
"""
