"""What clients did and were told, and the judge of it: a history, kept as it happens and checked when all is over.

`calls` says what is noted, `file` keeps it, `replay` has the model decide what the journal says was decided, `check`
holds every answer against that. None of them needs a running platform: a history file is evidence by itself.
"""
