"""Charts, each a function from counts to an altair chart."""
