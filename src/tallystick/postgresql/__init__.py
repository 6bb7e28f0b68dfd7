"""What all that keeps something in PostgreSQL shares: how one connects and waits, and what is said of errors."""
