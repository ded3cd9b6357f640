"""The configuration: ``loading`` reads a file, by way of ``document`` (YAML with places), ``variables`` and ``schema``
(which keys there are), into ``settings`` (what the rest of the gateway reads). ``reference`` says what each key means,
``changes`` what another file would change."""
