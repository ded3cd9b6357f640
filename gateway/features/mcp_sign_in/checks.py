"""Checks of the key ``token_exchange`` in a configuration file."""

import attrs

from configfile.keys import part_of, value_of
from configfile.wording import describe, nearest
from gateway.config.settings import Config
from gateway.config_files.building import Building
from gateway.features.mcp.interface import servers_of, with_servers
from gateway.features.mcp_sign_in.feature import McpSignInKeys
from gateway.http.urls import host_of_url, is_loopback


def check_exchanges(config: Config, building: Building) -> Config:
    """Report servers whose exchange contradicts other keys, and mark those that know their clients."""
    findings, servers = building.findings, list(servers_of(config))
    for i, server in enumerate(servers):
        exchange = part_of(server, McpSignInKeys).token_exchange
        if exchange is None:
            continue
        servers[i] = attrs.evolve(server, knows_clients=True)
        place = ("mcp_servers", i, "token_exchange")
        if server.access_key is not None:
            findings.wrong(place, "the server has an access_key, too", "keep one of them")
        names = [one.name for one in value_of(config, "issuers", ()) if one is not None]
        if not names:
            findings.wrong(place, "only people have tokens to exchange", "add their `issuers`")
        elif exchange.issuer is None and len(names) > 1:
            findings.wrong(place, "several issuers could have given a person's token", "name one with `issuer`")
        elif (issuer := exchange.issuer) is not None and issuer not in names:
            found = f"there is no issuer {describe(issuer)}"
            findings.wrong((*place, "issuer"), found, "use the name of one of `issuers`", nearest(issuer, names))
        url = exchange.token_url
        if isinstance(url, str) and url.startswith("http:") and not is_loopback(host_of_url(url)):
            findings.wrong((*place, "token_url"), "tokens would leave this machine unencrypted", "use https")
    return with_servers(config, servers)
