"""What the runs of a study say together: its tables and its page."""
