"""Starts, watches, restarts and stops the processes of one machine. Knows nothing of money or of what they do."""
