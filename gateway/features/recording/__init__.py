"""Recordings: ``recording`` collects exchanges, which ``recorded`` writes to files."""
