"""Recipes: where public datasets come from and how their files become ours, one TOML file for each."""
