"""⑤ The projector: the journal as tables that can be searched. Derived: delete its file, and it is made again.

Knows the journal's port and records; nothing of engine or gateway.
"""
