"""The availability of targets: ``health`` of all of them, for all requests of the process.

A ``circuit`` says whether one target is unavailable, until when and why. ``states`` stores the circuits,
``transitions`` logs their changes, ``probes`` checks self-hosted servers, and ``retry_budget`` limits additional
requests."""
