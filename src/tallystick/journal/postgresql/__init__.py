"""The journal in PostgreSQL: one bytea row a block, the writer's epoch in the same transaction (docs/postgresql.md).

A block is one statement, so one transaction: it moves the writer's row from the end that was expected, in the epoch
that is held, and inserts the block, or neither. What readers may see is a position of its own, moved only when the
append has returned: with a synchronous standby, a row may be readable that a fail-over would lose.
"""
