"""Tallystick: the money core of a neo-bank. `Ledger.open(path)` is the engine as a library; `tally` is the rest."""
