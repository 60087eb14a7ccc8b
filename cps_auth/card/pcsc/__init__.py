"""PC/SC: the reader service, one powered card, deadlines, and what its return codes mean."""
