"""Performance and cost predictors, their training and their registry."""
