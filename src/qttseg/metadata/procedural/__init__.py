"""Thirteen drawn datasets in the manner of the paper's domains: nothing to download, the same pixels everywhere."""
