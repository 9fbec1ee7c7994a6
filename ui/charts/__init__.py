"""Charts of the dashboard alone."""
