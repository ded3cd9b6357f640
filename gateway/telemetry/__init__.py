"""Observes exchanges without delaying them, as a ``LedgerObserver`` or as a ``tap`` of a stream.

- ``metrics``: the numbers for Prometheus, listed in ``rows``; ``shared_metrics`` adds up those of several workers
- ``lag``: the delay of the event loop
- ``tracing``: sends ``spans``
- ``recording``: collects exchanges, which ``recorded`` writes to files
- ``live``: the live view, with ``charts``, ``ended`` exchanges, ``transcripts`` of streams (as
  ``stream_text``) and ``prompts``
- ``content``: the texts of exchanges for observers of steps, and for spans as ``messages``
- ``observer``: the interfaces of traces and recordings, which do nothing by default"""
