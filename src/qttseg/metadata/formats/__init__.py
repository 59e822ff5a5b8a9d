"""The layouts that people keep datasets in: how each is told, read and written."""
