"""The live view: ``gateway/watching.py`` as a page in a browser."""
