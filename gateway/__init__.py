"""The service: HTTP in, HTTP out, routing, cancellation, settlement and the command line."""

__version__ = "0.3.0"
