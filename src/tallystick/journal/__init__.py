"""④ The truth: one entry per command, dense, in order. All else is derived from it."""
