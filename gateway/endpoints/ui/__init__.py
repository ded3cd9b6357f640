"""The live view: ``gateway/telemetry/live.py`` as a page in a browser.

``pages`` are its routes, ``visitors`` who may look, ``telling`` what they are told, ``workers`` what other processes
have to tell, ``models`` how each model is reached."""
