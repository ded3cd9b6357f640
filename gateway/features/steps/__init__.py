"""Steps: checks of the text of requests and responses. Imported only for a configuration with ``steps``.

- ``setting_checks``: the check of the configuration.
- ``opening`` opens them for a configuration, ``sessions`` refuses requests that they cannot read.
- ``conversations``: their part in the exchange of a conversation; ``relayed_requests`` and ``batch_lines`` check
  requests of other endpoints, and lines of batch files.
- ``loading`` finds the code of a step, ``loaded`` has the loaded steps of a configuration, with ``resources``: steps
  that live as long as the service.
- ``runner`` calls a step, with ``slots`` for its calls, and ``breaker``: pauses after failures.
- ``request_texts`` has the texts of a request: ``walking`` finds them by the ``tables`` of ``shapes``,
  ``text_pieces`` edits them, ``attachments`` reads files. ``joined_texts`` are those of adjacent parts.
  ``json_texts`` finds values in the bytes of JSON.
- ``response_texts`` finds the strings of a response that its reader does not report, ``answer_texts`` the texts of
  responses that are no conversation, which ``relayed_bodies`` releases, with the base in ``transforms``.
- ``endpoints`` lists those that steps check. ``advice`` judges steps before they are served, and describes their
  consequences for ``trigate check`` and ``trigate explain``.
- ``session`` has the steps of one exchange: it calls them, and applies the configured actions, with ``verdicts``:
  refusals and outcomes, ``masks``: placeholders and the values that they replace.
- ``response_steps`` checks a complete response, ``checked_stream`` a stream. ``runs`` are their texts. ``stages`` check
  them, one after the other in a ``chain``: ``holding`` holds their events, masks and releases them. ``gate`` passes the
  events to the client's lane.
- ``mask_key``: the key of placeholders. ``observers`` passes records of finished exchanges on, in batches.
- ``harness`` runs a step at every split, for ``trigate.steps.testing``.
- ``kinds``: the built-in kinds; ``commands``: ``trigate steps``, whose options are in ``options``
"""
