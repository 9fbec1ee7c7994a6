"""What turns evidence into verdicts."""
