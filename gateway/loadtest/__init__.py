"""The load tester: what it sends, when, how it measures and what it says of it.

It knows nothing of the gateway, and measures any server of the five APIs. One concept a module: ``scenario`` (what to
do, of each kind of ``load_request``), ``arrivals`` (when), ``bodies`` (what is sent), ``keys`` (with whose key),
``wire`` (HTTP/1.1 with a time on every read), ``content`` (which events carry content), ``client`` (one exchange),
``judging`` (is it whole), ``histogram``, ``tally`` and ``timeline`` (figures), ``overhead`` (of the loader itself),
``running`` (a run), ``report`` (its result, and files of it), and what shows it: ``live``, ``text``, ``page`` with its
``plots``, ``figures`` for all of them, and ``fail_if``.
"""
