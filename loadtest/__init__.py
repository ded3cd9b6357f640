"""The load tester: measures the streams of any server of the six APIs, under a load of one process.

``plan`` has the load as values, ``requests`` makes its requests, ``wire`` and ``exchange`` send them and judge the
answers, ``run`` makes runs and searches, ``figures`` sums them up, and ``reports`` shows them. ``masking`` makes texts
safe to show.
"""
