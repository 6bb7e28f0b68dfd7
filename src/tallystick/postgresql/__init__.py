"""What all that keeps something in PostgreSQL shares: how one connects, waits and commits, makes tables, and what is
said of errors."""
