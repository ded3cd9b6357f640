"""The service: HTTP in, HTTP out, routing, cancellation, settlement and the command line."""
