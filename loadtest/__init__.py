"""The load tester: it plans and sends requests, measures the responses, and reports the results.

It imports nothing from the gateway and measures any server of the supported APIs. Packages, lowest layer first:
``wire`` (connections that time every read), ``plan`` (the load to make), ``requests`` (request bodies), ``exchange``
(one request and its response), ``figures`` (statistics over many records), ``run`` (one run or a series of runs),
``crew`` (a run in several processes) and ``reports`` (output for people and programs).
"""
