"""The online tuner: which configuration to train next, until the deadline."""
