"""Videos at providers with OpenAI's former API: created by model, then identified by id.

The films pass through the gateway with the provider's credential, which their URLs require (decolua/9router#3966,
api7/aisix#820)."""

from functools import partial

from gateway.exchange.planned import PlannedRequest
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.relay.answers import ObjectAnswer
from gateway.relay.kept import KeptRequest, reading
from gateway.relay.relay import relay
from gateway.relay.relaying import with_model
from gateway.relay.uploads import arriving_upload
from gateway.routing.once import ONCE
from gateway.routing.plan import Plan
from gateway.routing.target import Target


class VideoRequest(KeptRequest):
    """A request to create a video: its model selects the provider, and it is sent once."""

    async def answer(self) -> Response:
        planned = await (self._written() if self.is_json else self._form())
        account = self._account_of(planned.plan.first)
        if not self.ids.native:
            self.ids.shown("", account)  # fails before creating an object whose id could not be signed
        filter = ObjectAnswer(self.service.limits.answer, partial(self.shown, account))
        return await relay(self.relaying.exchange, self.relaying.scope, self.relayed(planned, filter))

    async def _written(self) -> PlannedRequest:
        incoming = await self.relaying.json()
        target = self.relaying.plan(self.relaying.model_of(incoming)).first
        return self.relaying.planned(incoming, Plan.to(target, ONCE), partial(with_model, incoming))

    async def _form(self) -> PlannedRequest:
        """Return the planned request for a form, which may include a first picture."""
        upload = await arriving_upload(self.relaying)
        incoming = self.relaying.unread(upload.model, False)
        target = self.relaying.plan(self.relaying.model_of(incoming)).first
        return self.relaying.uploaded(incoming, target, await upload.body(target.model), upload.kind)

    def _account_of(self, target: Target) -> Account:
        return next(one for one in self.usable() if any(entry.name == target.entry.name for entry in one.entries))


read_new_video = reading("videos", VideoRequest)
read_video = reading("videos")
