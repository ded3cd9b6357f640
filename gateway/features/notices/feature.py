"""The row of notices about budgets, and the key ``notify``."""

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import attrs

from configfile.expanded import Unresolved
from configfile.keys import part_of, setting, with_part
from configfile.kinds import Secret, Share
from gateway.config.kinds import list_of
from gateway.config.parts import Instead
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.config_files.building import Building

SHORTEST: Final = 16
_URL: Final = re.compile(r"https?://[^\s/?#@]+(?:[/?][!-~]*)?")


@attrs.frozen(repr=False)
class Receiver:
    """A receiver of notices."""

    holds_secrets = True

    url: Secret = setting("The address that gets each notice as a `POST`. Logs show its host alone.", secret=True)
    at: tuple[Share, ...] = setting(
        "The steps: the used shares of a budget that cause a notice.", (0.5, 0.8, 1.0), shown="`[50%, 80%, 100%]`"
    )
    secret: Secret | None = setting(f"The key of the signature, at least {SHORTEST} characters.", None, secret=True)
    form: Literal["json", "slack"] = setting("`slack`: the text alone, as Slack and Mattermost read it.", "json")


Receivers: TypeAlias = Annotated[tuple[Receiver, ...], list_of(Receiver)]


@attrs.frozen
class NoticeKeys:
    """The keys of the root."""

    notify: Receivers = setting("The receivers of [notices](notices.md) about budgets.", ())


def receivers_of(config: Config) -> tuple[Receiver, ...]:
    """Return the receivers of ``config``."""
    return part_of(config, NoticeKeys).notify


def build_receivers(config: Config, building: "Building") -> Config:
    """Report receivers that no notice can reach, or whose notices anyone could imitate."""
    findings, made = building.findings, []
    for path, one in findings.present_items(receivers_of(config), ("notify",), "add `url`"):
        if not isinstance(one.url, Unresolved) and not _URL.fullmatch(one.url):
            findings.wrong((*path, "url"), "no URL for notices", "write one such as https://host/path")
        if not one.at or not all(one.at):
            findings.wrong((*path, "at"), "no step, or one of 0%", "list steps such as [50%, 100%]")
        if one.secret is not None and not isinstance(one.secret, Unresolved) and len(one.secret) < SHORTEST:
            findings.wrong((*path, "secret"), f"it has fewer than {SHORTEST} characters", "`openssl rand -hex 32`")
        made.append(one)
    return with_part(config, NoticeKeys(tuple(made)))


ADVICE: Final = (
    Instead(
        "write `notify: [{url: https://HOST/PATH}]`",
        "alerts alerting notices notifications webhook webhooks",
        (Config,),
    ),
)

FEATURE: Final = Feature(
    "notices",
    "gateway.features.notices.opening:open_notices",
    lambda config: bool(receivers_of(config)),
    keys=(Keys(Config, NoticeKeys),),
    build="gateway.features.notices.feature:build_receivers",
    advice="gateway.features.notices.feature:ADVICE",
)
