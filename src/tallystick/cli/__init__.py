"""`tally`: one module for each group of commands, thin: parse, call, render."""
