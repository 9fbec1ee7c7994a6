"""What models that did not see a sample say of it."""
