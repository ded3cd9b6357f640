"""Providers in the configuration (``providers``), which add, replace or change rows of the catalogue."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import attrs

from configfile.keys import Given, Kind, setting
from configfile.kinds import Secret, Url
from gateway.config.endpoints import OwnEndpoints
from gateway.config.kinds import ApiPaths, KeyHeader, Speaking
from gateway.config.sign_ins import SigningIn
from providers.neutral.quirks import Quirks

QuirkChanges: TypeAlias = Annotated[Mapping[str, Any], Kind("mapping", pick=lambda _: Given(Quirks), parts=(Quirks,))]
"""Changes to a row's ``Quirks``."""

SetHeaders: TypeAlias = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        "mapping of texts or files",
        lambda value: tuple(value.items()),
        pick=lambda _: dict[str, Secret],
        parts=(dict[str, Secret],),
        takes_text=True,
    ),
]
"""Headers with their values."""


@attrs.frozen(repr=False)
class ProviderSettings:
    """A row of the catalogue, whole or in part."""

    base_url: Url | None = setting(
        "As on an entry. A path applies to all APIs; otherwise each API has its usual one or that in `paths`.",
        None,
        shown="the known provider's; otherwise each entry sets it",
    )
    provider_interface: str | None = setting(
        "The known provider that it behaves like in everything.",
        None,
        shown="`openai`'s Chat",
    )
    speaks: Speaking = setting(
        "As on an entry.",
        factory=dict,
        shown="the known provider's, else `[chat]`",
    )
    paths: ApiPaths = setting(
        "Whole paths on its host by API: `{messages: /anthropic/v1/messages}`. `{model}` is the model's id.",
        factory=dict,
    )
    auth: KeyHeader | None = setting(
        "The header for its key, or a mapping by API: `{messages: x-api-key}`.",
        None,
        shown="the API's usual header",
    )
    written_sign_in: SigningIn | None = setting(
        "As on an entry, for entries without `sign_in` and key.", None, name="sign_in"
    )
    headers: SetHeaders = setting("Headers for all of its entries. An entry's own headers take precedence.", ())
    quirks: QuirkChanges = setting("Differences from its APIs.", factory=dict, shown="the known provider's")
    own_endpoints: OwnEndpoints = setting(
        "As on an entry.",
        factory=dict,
        shown="the known provider's, else OpenAI's",
        name="endpoints",
    )
    families: tuple[str, ...] | None = setting("Shell patterns of bare model ids that go to `NAME/*`.", None)
    models: tuple[str, ...] | None = setting(
        "Model ids that `GET /v1/models` lists for `NAME/*`, most capable first.", None
    )
    display_name: str | None = setting("Its name for people.", None, shown="its name")
