"""What a process counts of itself, in a file that others read: so one scrape shows all, and a stopped process too."""
