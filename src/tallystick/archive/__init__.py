"""The archive: whole blocks of the journal, details included, in a second place, before a checkpoint covers them.

A journal that comes back from yesterday goes on from here to the last signed checkpoint before it decides anything.
Without that it would decide other entries under the same numbers, and the log would fork.
"""
