"""The seams: the places at which features take part in requests and in the process. The kernel has no other.

- ``feature``: the row of a feature in ``gateway.features.order``.
- ``running``: what a feature opens for a configuration, and runs in the process.
- ``identify``: clients in addition to those of the file.
- ``request_forms``: members that clients send for another router.
- ``edit_sent``: what providers receive.
- ``response_forms``: errors and headers that certain programs expect.
- ``hooks``: what an open feature adds to requests.
- ``plan``: requests before they are sent.
- ``open_response``: the texts of an exchange until its client gets them.
- ``observe``: what learns about exchanges without taking part in them. The kernel calls them through ``observers``.
  ``observed_stream`` reports the bytes of a stream, ``observed_texts`` keeps texts until the exchange has ended.
- ``kept``: objects that providers store for clients.
- ``supervised``: what workers share of a feature.
- ``route``: the paths that a feature serves.
- ``wrap_origin``: where the response to a request comes from.
- ``secrets``: secrets in stores, which a configuration needs before all else."""
