"""The row of tokens of people for MCP servers, and their keys."""

from typing import Final, Literal, TypeAlias

import attrs

from configfile.keys import part_of, setting
from configfile.kinds import LateSecret, Url
from gateway.features.mcp.interface import McpServer, servers_of
from gateway.seams.feature import Feature, Keys

SubjectKind: TypeAlias = Literal["access_token", "id_token", "jwt"]


@attrs.frozen(repr=False)
class TokenExchange:
    """The exchange of a person's token for one of the server."""

    token_url: Url = setting("The token endpoint of the issuer, which exchanges tokens ([RFC 8693](mcp-sign-in.md)).")
    client_id: str = setting("The gateway's own client id at the issuer.")
    client_secret: LateSecret | None = setting("Its secret, sent as HTTP Basic.", None, secret=True)
    issuer: str | None = setting(
        "The name of the issuer whose tokens are exchanged. Required with several `issuers`.",
        None,
        shown="the only one",
    )
    audience: str | None = setting("The `audience` of the server's token.", None)
    resource: Url | None = setting("The `resource` of the server's token, a URL.", None)
    scope: str | None = setting("The scopes of the server's token, with spaces between them.", None)
    subject: SubjectKind = setting("The kind of the person's token.", "access_token")


@attrs.frozen(repr=False)
class McpSignInKeys:
    """The keys of an MCP server."""

    token_exchange: TokenExchange | None = setting(
        "Send the server a token of the person, for which the issuer exchanges the person's own token. Other clients "
        "get 403.",
        None,
        shown="the server gets `access_key`",
    )


FEATURE: Final = Feature(
    "mcp_sign_in",
    "gateway.features.mcp_sign_in.opening:open_exchanges",
    lambda config: any(part_of(server, McpSignInKeys).token_exchange is not None for server in servers_of(config)),
    ("people",),
    keys=(Keys(McpServer, McpSignInKeys),),
    build="gateway.features.mcp_sign_in.checks:check_exchanges",
)
