"""The ids of realtime sessions that a client can refer to again."""

from urllib.parse import quote

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.exchange.context import ExchangeContext
from gateway.features.realtime.shapes import OF_OPENAI
from gateway.kept_objects.accounts import accounts_of
from gateway.kept_objects.owned_ids import OwnerIds, unknown_id_error
from gateway.relay.endpoint_plans import passthrough_target
from gateway.routing.target import Target
from providers.catalog.provider import endpoint_url
from providers.endpoints.endpoint import EndpointName


@attrs.frozen
class SessionIds:
    """The signed ids of one client's sessions at ``endpoint``; each contains its owner and provider."""

    context: ExchangeContext
    endpoint: EndpointName
    ids: OwnerIds

    @classmethod
    def of(cls, context: ExchangeContext, endpoint: EndpointName) -> "SessionIds":
        service, client_request = context.service, context.client_request
        entries = (
            one for one in service.router.entries_with(endpoint)
            if (place := one.place_of(endpoint, one.model)) is not None and place.shape in OF_OPENAI
        )  # fmt: skip
        owner = service.admission.holder(client_request.client, client_request.headers)
        return cls(context, endpoint, OwnerIds(accounts_of(entries, (), has_several_owners=True), owner))

    def client_id(self, entry: ModelEntry, native: str) -> str:
        """Return the client's id for ``native`` at ``entry``. Raises ``GatewayError`` if nothing can sign it."""
        return self.ids.client_id(native, next(one for one in self.ids.accounts if entry in one.entries))

    def find(self, client_id: str, parameter: str, path: str = "") -> tuple[Target, str]:
        """Return a target with the URL of the session ``client_id``, and the provider's id of the session.

        ``path`` follows the endpoint's URL, with the provider's id in place of ``{id}``. Raises ``GatewayError`` (404),
        which names ``parameter``, for a session of another client."""
        authenticator, client = self.context.service.authenticator, self.context.client_request.client
        found, entry = self.ids.find(client_id), None
        if found is not None:
            entry = found.account.first_entry(lambda one: authenticator.can_use(client, one.name))
        if found is None or entry is None:
            raise unknown_id_error(client_id, parameter)
        place = entry.place_of(self.endpoint, entry.model)
        assert place is not None, "it has sessions"
        path = path.replace("{id}", quote(found.native, safe=""))
        url = endpoint_url(entry.base_url, entry.row(entry.model), place, entry.model, path)
        target = attrs.evolve(passthrough_target(entry, "chat", entry.model, url), endpoint_place=place)
        return target, found.native
