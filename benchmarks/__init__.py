"""One command per figure, peers in the same run, medians and ratios. See `__main__`."""
