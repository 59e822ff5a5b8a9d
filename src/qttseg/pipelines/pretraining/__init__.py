"""Pre-training of sam-nano on endlessly drawn images."""
