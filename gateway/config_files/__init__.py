"""The reading of configuration files, which no request needs.

``loading`` reads a file with ``configfile`` into the classes of ``gateway.config``, then builds what its parts decide
together: ``providers``, ``entries`` with their ``sign_ins``, ``routes``, ``client_keys`` with ``client_access``,
``allowance_checks``, ``listeners``, ``storage``, and other ``values``. ``building`` is the check of features' keys,
``packages`` that of the installed extras.

``untrusted_file``: the check of a file that was only found; ``readable_secrets``: the warning about secrets in a file
that everyone can read. ``unknown``: advice on unknown keys. ``convertible`` recognises the files that ``trigate
import`` converts."""
