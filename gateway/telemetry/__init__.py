"""Observation of exchanges: metrics, traces, recordings, the live view. All of them look on by the ledger's
``Observer`` or as a ``tap``, and none is in the way.

``metrics`` counts (each metric a row of ``rows``) and ``shared_metrics`` adds up over workers; one is ``lag``.
``tracing`` sends ``spans`` out. ``recording`` gathers exchanges, ``recorded`` writes them down. ``live`` is the
live view: ``charts`` and sums, ``transcripts`` of streams, in any framing by ``stream_text``, and ``prompts``.
``observer`` holds the seams for traces and recordings, and what stands there where nobody watches.
"""
