"""Runs of a load: ``running`` makes one, and ``search`` finds the highest rate."""
