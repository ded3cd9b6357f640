"""The commands, a module each: ``check``, ``connect``, ``costs``, ``doctor``, ``explaining``, ``importing``, ``init``,
``keys`` (with ``changed_keys`` and ``key_options``), ``lint``, ``load`` (with ``load_options``, ``load_asked``,
``load_answers`` and ``load_reports``), ``replay``, ``schema``,
``serve`` (``mock``, and the ``demo``), ``translate``. ``terminal`` folds what they print, ``fetching`` is one GET or
POST, ``listening`` has the sockets that ``serve`` opens, ``rehearsal`` the walk of a plan that ``explaining`` tells of,
and ``probing`` the requests that ``doctor`` sends.

``connect`` is made of ``finding`` (where the gateway is), ``choosing`` (what it serves, and which of its models a
client gets), ``clients`` (whose settings, each a ``client``), ``logins`` (of programs that keep theirs), ``edits`` (put
into a file, by ``notation`` and ``edit_json``) and ``undoing`` (taken out again).

``importing`` converts files of LiteLLM's with ``litellm`` (its providers and settings as rows), ``litellm_models``,
``litellm_prices``, ``litellm_routes`` and ``litellm_keys`` (exports of its database); ``imported`` writes the result.
"""
