"""The load tester: what it sends, when, how it measures and what it reports.

It knows nothing of the gateway, and measures any server of the APIs. Lower ones first: ``wire`` (bytes, with a time on
every read), ``plan`` (what is to be done, and when), ``requests`` (what is sent), ``exchange`` (one request and its
response, up to its record), ``figures`` (the sums of many records), ``run`` (a run, or several for one question),
``crew`` (a run by several processes) and ``reports`` (what people and programs read of it).
"""
