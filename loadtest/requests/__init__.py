"""The requests of a load: ``sources`` of prompts or of the bodies of a file, their ``bodies``, URLs and ``keys``."""
