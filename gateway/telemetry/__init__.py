"""Observers of exchanges, which delay none, as a ``LedgerObserver`` or as a ``tap`` of a stream.

- ``content``: the texts of exchanges for observers of steps and for spans
- ``stream_text``: the texts of streams in any framing"""
