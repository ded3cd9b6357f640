"""The responses of each path.

- ``inference``: requests for providers; ``count_tokens``, ``compact``: token counts and compactions.
- ``health``: reports.
- ``responses``, ``conversations``, ``interactions``: stored objects; ``stored_turns``: the turns of any API;
  ``provider_kept``: objects that a provider stores.
- ``border`` turns a request into an exchange, ``request_body`` reads its body; ``request_guard`` rejects hostile
  requests; ``cors``: responses that pages of other origins may read.
- ``answers`` and ``plain_answers`` make responses outside exchanges.
- ``own_routes``: the paths of these; ``unknown_paths``: errors for requests without a route."""
