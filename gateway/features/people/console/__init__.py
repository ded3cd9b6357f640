"""The pages of people: their rights, usage, keys, groups and people. Imported with the first request of a page.

Each page is a client of the HTTP API: it sends the API's requests for its caller, so both have the same rights, checks,
limits and audit. No page needs JavaScript.

- ``paths``: the paths; ``serving``: a request from its caller to its page; ``table``: pages, their sections and forms.
- ``api_calls``: requests of a page to the API. ``form_values``: from a form to a request's body.
- ``sections``: what the sections of the pages read; ``overview``: the start of the page about usage. The folder
  ``templates/console`` has their HTML, one template a page, with the ``parts`` that all share."""
