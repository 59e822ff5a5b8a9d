"""quicktunetool (Rapant et al. 2024) as a competitor in replays, in an environment of its own."""
