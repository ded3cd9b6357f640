"""The live view: ``gateway/observing/watching.py`` as a page in a browser."""
