"""The requests of a load: ``sources`` of prompts or of the bodies of a file, and their ``bodies`` and URLs."""
