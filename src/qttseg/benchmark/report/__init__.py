"""The results as one page that a reader can explore, without a network."""
