"""The HTTP request to a provider: address, headers, body."""

from gateway.http.headers import upstream_headers, upstream_query
from gateway.request.client_request import ClientRequest
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from providers.errors.rejected import BETA
from providers.neutral.codec import Outgoing


def upstream_request(
    outgoing: Outgoing, target: Target, asked: ClientRequest, stream: bool, suffix: str = "", *, method: str = "POST"
) -> UpstreamRequest:
    """The HTTP request. In the byte lane the client's headers and query go along (less credentials and what is about
    its own connection), in the hub lane only what the codec writes and the betas that the model's name wants.
    ``suffix`` goes behind the path."""
    path, mark, query = target.url.partition("?")
    url = path + suffix + mark + query
    headers = outgoing.headers
    if target.lane == "byte":
        messages = target.api == "messages"
        headers = (*upstream_headers(asked.headers, messages), *headers)
        if more := upstream_query(asked.query, messages):
            url += ("&" if mark else "?") + more
    elif betas := [beta for beta in target.betas if beta in (asked.header(BETA) or "")]:
        headers = (*headers, (BETA, ",".join(betas)))
    own = target.headers(asked.credential)
    names = {name.lower() for name, _ in own} | {"content-type", "accept"}
    headers = (
        *((name, value) for name, value in headers if name.lower() not in names),
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if stream else "application/json"),
        ("accept-encoding", "identity"),  # compressed events would wait for one another
        *own,
    )
    return UpstreamRequest(method, url, headers, outgoing.body, connect_timeout=target.entry.timeouts.connect)
