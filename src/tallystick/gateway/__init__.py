"""① Untrusted HTTP in, answer out. Checks who asks and whether it can be understood; knows nothing of balances.

A payment walks through `app` (dispatch, size, time), `auth` (who), `headers` and `decoding` (what), `requests`
(limits, waiting), `lanes` (durable together with all that came meanwhile) and `undecided` (until the engine says).
"""
