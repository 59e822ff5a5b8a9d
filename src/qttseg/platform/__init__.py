"""Where work runs: executors and the collection of learning curves."""
