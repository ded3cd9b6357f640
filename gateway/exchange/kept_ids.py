"""Ids of kept objects in conversations: a file that its client has uploaded through here, a store of vectors, a
container.

Ids that the gateway has given out become the provider's again, and the request goes where the objects are. A text that
is none of them passes as it is: what was made elsewhere, such as a store in a provider's console, may be named by the
provider's own id.
"""

from typing import Final
from urllib.parse import urlsplit

import attrs

from gateway.exchange.context import ExchangeContext
from gateway.http.offload import offload
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.id_texts import IdPlaces
from gateway.request.parse import Incoming, read_incoming
from gateway.routing.plan import Plan
from streams.errors import invalid

PLACES: Final = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id", "batch_id")),
    ends=frozenset((("container", "id"),)),
    addresses=frozenset(("fileuri", "file_uri")),
)
"""Where conversations hold such ids, in the words of all APIs."""


@attrs.frozen
class KeptPlace:
    """The request with the provider's own ids, and the ``account`` that keeps what they name."""

    incoming: Incoming
    account: Account | None = None

    def among(self, plan: Plan) -> Plan:
        """``plan`` as far as it leads there. Raises ``GatewayError`` (400) where it leads nowhere else."""
        account = self.account
        if account is None:
            return plan
        there = tuple(one for one in plan.candidates if one.target.entry in account.entries)
        if not there:
            raise invalid(
                f"the request names things that {account.entry.name} keeps, and its model is at {plan.first.place}: "
                "ask for a model there, or upload them again", code="kept_elsewhere",
            )  # fmt: skip
        return plan.among(there)


async def with_native_ids(context: ExchangeContext, owner: str, incoming: Incoming) -> KeptPlace:
    """``incoming`` with the ids that its provider knows. Raises ``GatewayError``: 404 for one that was not made for
    ``owner``, 400 for those of two providers."""
    ids = context.service.accounts.all_ids(owner, context.asked.client)
    read = await offload(len(incoming.body), ids.read_tagged, incoming.body, PLACES)
    if read.account is None:
        return KeptPlace(incoming)
    body = read.native(_base(read.account))
    again = await offload(len(body) // 2, read_incoming, incoming.api, body, context.asked.path)
    return KeptPlace(again, read.account)


def _base(account: Account) -> str:
    """Where Google's files are at ``account``'s provider."""
    url = urlsplit(account.entry.base_url or account.entry.provider.base_url or "")
    return f"{url.scheme}://{url.netloc}/v1beta"
