"""The availability of targets: ``health`` of all of them, for all requests of the process.

A ``circuit`` states whether one target is unavailable, until when and why. ``states`` stores the circuits,
``witnesses`` separates a client's own failures from those of all, ``transitions`` logs changes, ``retry_shares`` limits
additional requests, and ``reported_limits`` stores the limits that providers report."""
