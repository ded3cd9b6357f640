"""The row of a feature.

A feature is one folder ``gateway/features/NAME``. Others may import two of its modules. ``feature.py`` has the row
``FEATURE``, which ``gateway.features.order`` lists. It is imported whether the feature is wanted or not, so it imports
nothing but the classes of its keys. ``interface.py``, if there is one, has the names that other features use: import it
only where the feature is open, or for types."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from gateway.config.settings import Config
from streams.events import Api

if TYPE_CHECKING:
    from gateway.routing.plan import Plan

Wanted: TypeAlias = Callable[[Config], bool]


def always(config: Config) -> bool:
    """Return true: the feature is part of every configuration."""
    return True


@attrs.frozen(eq=False, repr=False)
class Keys:
    """Keys of a feature in the configuration: those of the class ``keys``, each with a default, in ``place``, a class
    of ``gateway.config`` with ``parts``. ``configfile.keys.part_of`` returns their values."""

    place: type
    keys: type


CONTRACT: Final = 1
"""The version of the contract between the kernel and features of other packages. It changes with each change of a seam
that may break such a feature."""


@attrs.frozen(eq=False, repr=False)
class ExplainedRequest:
    """A request of ``client`` for ``model`` in an ``api``, and its ``plan``, whose first target is in entry
    ``first``."""

    model: str
    api: Api
    client: str | None
    plan: "Plan"
    first: str


@attrs.frozen(eq=False, repr=False)
class Explained:
    """The part of a feature in a request: its ``parts``, a line each, with their ``label``.

    ``changing`` are the names of those that may change the response, which is then translated. ``plan`` has the lanes
    of a request that the feature edits."""

    label: str
    parts: Sequence[str]
    changing: Sequence[str] = ()
    plan: "Plan | None" = None


@attrs.frozen(eq=False, repr=False)
class Feature:
    """The row of a feature, which the kernel knows before it imports the feature.

    - ``name``: that of its folder
    - ``opening``: ``module:function``, an ``OpenFeature``; imported only if ``is_wanted``
    - ``keys``: its keys in the configuration
    - ``build``: ``module:function``, a ``BuildKeys`` that checks them; imported only if one of them is in the root, or
      ``is_wanted``
    - ``advice``: ``module:NAME``, the rows of ``gateway.config.parts`` about similar, unknown keys
    - ``unsafe``: ``module:function`` that yields the places of contents, with the reasons, that a file must not have if
      no user named it; imported only if the file has keys of the feature
    - ``judge``: ``module:function``, called with a configuration and the mistakes found so far. It returns remarks for
      the operator, none if there are mistakes, and raises ``ConfigError`` with others that only the feature finds
    - ``trial``: ``module:function``, awaited with a configuration. It opens and closes once whatever the start of a
      process opens, and returns the remarks. It raises ``ConfigError``
    - ``explain``: ``module:function``, called with a configuration and an ``ExplainedRequest``. It returns an
      ``Explained`` for ``trigate explain``, and raises ``ConfigError``
    - ``status``: ``module:function``, called with a configuration that has only its storage. It returns the label and
      the text of a row of ``trigate status``
    - ``schema``: ``module:function`` that adds to the configuration's JSON Schema
    - ``needs``: the names of features above without which this one is not opened
    - ``secrets``: ``module:function``, an ``OpenSecrets``, if it reads secrets in stores (``gateway.seams.secrets``)
    - ``option``: the name of an option of ``trigate serve`` without which it is not opened
    - ``check_option``: ``module:function``, which raises ``OSError`` for an unusable value of the option
    - ``supervised``: ``module:function``, an ``OpenSupervised`` (``gateway.seams.supervised``)
    - ``client_source``, ``client_rows``, ``unlisted``: ``module:function``, an ``OpenClientSource``, an ``OpenRows``
      and an ``OpenUnlisted`` (``gateway.seams.identify``)
    - ``client_tables``: ``module:NAME``, the SQL scripts of the tables with its ``client_rows``. The client source runs
      them with its own, each after those of the version before
    - ``find_client``: ``module:function``, a ``FindClient``, for commands
    - ``stores_clients``: whether a configuration may have stored clients
    - ``unwanted_paths``: paths that it does not serve if it is not wanted, with advice for the error
    - ``first_steps``: the first steps of its paths, with which the path of ``public_url`` may not begin
    - ``served_clients``: other servers whose clients it can serve, with advice how to let it"""

    name: str
    opening: str = ""
    is_wanted: Wanted = always
    needs: tuple[str, ...] = ()
    keys: tuple[Keys, ...] = ()
    build: str = ""
    advice: str = ""
    secrets: str = ""
    unsafe: str = ""
    judge: str = ""
    trial: str = ""
    explain: str = ""
    status: str = ""
    schema: str = ""
    option: str = ""
    check_option: str = ""
    supervised: str = ""
    client_source: str = ""
    client_rows: str = ""
    client_tables: str = ""
    stores_clients: Wanted = always
    unlisted: str = ""
    find_client: str = ""
    unwanted_paths: tuple[tuple[str, str], ...] = ()
    first_steps: tuple[str, ...] = ()
    served_clients: tuple[tuple[str, str], ...] = ()
    contract: int | None = None

    def has_keys_in(self, given: Collection[str]) -> bool:
        """Return whether one of the attributes ``given`` of the root is a key of the feature."""
        return any(name in given for one in self.keys if one.place is Config for name in attrs.fields_dict(one.keys))
