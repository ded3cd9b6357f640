"""What is known of the places that requests go to: ``health`` of all of them, for all requests of the process.

A ``circuit`` says of one place whether it is out, until when and why; ``states`` is where the circuits are kept, and
``transitions`` says when one has changed. ``told_limits`` are those that places say they have used up. ``probes``
ask servers of one's own how they are. ``retry_budget`` bounds what is added to the requests of clients.
"""
