"""What we know: datasets, meta-features, protocols, runs and the learning-curve store."""
