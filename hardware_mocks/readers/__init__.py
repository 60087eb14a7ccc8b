"""Virtual readers and the faults that they can have."""
