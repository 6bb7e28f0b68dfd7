"""Acts: who read what (the log `access`), and who changed what (the log `control`). Each is a transparency log of its
own, beside the log of the ledger: with an origin, a tree and checkpoints of its own.
"""
