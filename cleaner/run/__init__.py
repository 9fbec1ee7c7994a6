"""What a run keeps on disk, and how a step is performed."""
