"""The common parts of pages for people, the HTTP API and reports.

- ``visitors``: who may see which requests; ``callers``: callers of pages and of the HTTP API
- ``listed_models``, ``described``, ``explained``: the models that clients can name, their facts and their targets
- ``money``: dollars as text; ``periods``: periods of reports, their days and months in a time zone"""
