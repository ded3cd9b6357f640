"""The load tester: what it sends, when, how it measures and what it says of it.

It knows nothing of the gateway, and measures any server of the APIs. Lower ones first: ``wire`` (bytes, with a time on
every read), ``plan`` (what is to be done, and when), ``requests`` (what is sent), ``exchange`` (one request and its
answer, up to its record), ``figures`` (what many records come to), ``run`` (a run, or several for one question),
``crew`` (a run by several processes or machines) and ``reports`` (what people and programs read of it).
"""
