"""A data set, in and out."""
