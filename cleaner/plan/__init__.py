"""The plan of a run, and what it leaves."""
