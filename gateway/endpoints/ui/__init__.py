"""The live view: ``gateway/telemetry/live.py`` as a page in a browser.

``routes`` serves its ``paths``, ``pages`` has its visitors and how each model is reached; ``telling`` sends viewers
their events, ``workers`` those of other processes."""
