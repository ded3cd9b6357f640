"""The command line, a module each: ``check``, ``costs`` (with ``cost_notes``), ``doctor``, ``explaining``,
``importing``, ``init``, ``keys`` (with ``changed_keys`` and ``key_options``), ``lint``, ``load`` (with
``load_options``, ``load_asked``, ``load_answers``, ``load_compare``, ``load_crew``, ``load_exact`` and
``load_models``), ``replay``, ``schema``, ``serve`` (and ``mock``), ``translate``; ``terminal`` folds what they say,
``rehearsal`` is the walk of a plan that ``explaining`` tells of, ``explained_limits`` its prices and limits.

``connect`` is made of ``finding`` (where the gateway is), ``offers`` (what it serves), ``choosing`` (which of its
models), ``clients`` with
``sdk_clients`` (whose settings, each a ``client``), ``logins`` (of programs that keep theirs), ``edits`` (put into a
file, in one ``notation`` each: ``edit_env``, ``edit_json``, ``edit_toml``, ``edit_yaml``) and ``undoing`` (taken out
again);
``targets_to_check`` lists the targets that ``doctor`` tries, ``probing`` the requests that it sends, ``listening`` the
sockets that ``serve`` opens, ``local_servers`` how servers on this machine are started, ``ollama``
what one of them has; ``fetching`` is one GET or POST. ``importing`` converts files of LiteLLM's with
``litellm`` (its providers and settings as rows), ``litellm_models``, ``litellm_prices``, ``litellm_routes``,
``litellm_values``, ``litellm_tables`` (exports of its database), ``litellm_keys`` and ``litellm_teams``;
``imported`` writes the result.
"""
