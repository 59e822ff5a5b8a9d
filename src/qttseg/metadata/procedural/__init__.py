"""Drawn datasets in the manner of two papers' domains: nothing to download, the same pixels everywhere."""
