"""The witness: cosigns the checkpoints of logs that are not its own, each only if it adds to the last one it saw.

Others run it, best far from the bank. It keeps one checkpoint a log, and its keys.
"""
