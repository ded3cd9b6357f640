"""Opens the tokens of people for the MCP servers of a configuration."""

from functools import partial

from configfile.keys import part_of, value_of
from gateway.config.settings import Config
from gateway.features.mcp.interface import servers_of
from gateway.features.mcp_sign_in.exchange import exchange_token
from gateway.features.mcp_sign_in.feature import McpSignInKeys, TokenExchange
from gateway.features.mcp_sign_in.tokens import ExchangedTokens, ServerTokens
from gateway.features.people.interface import people_of
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running


class OpenExchanges(Running):
    """The tokens by their server's name and settings. They outlive a configuration that does not change these."""

    def __init__(self, tokens: dict[tuple[str, TokenExchange], ExchangedTokens], hooks: Hooks) -> None:
        self.tokens = tokens
        self.hooks = hooks


def open_exchanges(config: Config, ports: Ports, before: Running | None) -> OpenExchanges:
    """Return the tokens for the servers of ``config``, which continue those of ``before``."""
    known = before.tokens if isinstance(before, OpenExchanges) else {}
    tokens: dict[tuple[str, TokenExchange], ExchangedTokens] = {}
    sources = []
    for server in servers_of(config):
        exchange = part_of(server, McpSignInKeys).token_exchange
        if exchange is None or server.entry is None:
            continue
        new = ExchangedTokens(partial(exchange_token, ports.upstream, exchange, server.name))
        tokens[server.name, exchange] = kept = known.get((server.name, exchange), new)
        issuer = exchange.issuer or value_of(config, "issuers")[0].name
        sources.append((server.entry.name, ServerTokens(server.name, issuer, kept, people_of(ports.opened))))
    return OpenExchanges(tokens, Hooks(credentials=tuple(sources)))
