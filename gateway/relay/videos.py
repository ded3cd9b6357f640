"""Videos at providers with OpenAI's former API: created by model, then identified by id.

The films pass through the gateway with the provider's credential, which their URLs require (decolua/9router#3966,
api7/aisix#820)."""

from functools import partial

from gateway.exchange.planned import PlannedRequest
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.relay.answers import ObjectAnswer
from gateway.relay.kept import KeptRequest, reader_for
from gateway.relay.relay import relay
from gateway.relay.relaying import replace_model
from gateway.relay.uploads import read_upload
from gateway.routing.once import ONCE
from gateway.routing.plan import Plan
from gateway.routing.target import Target


class VideoRequest(KeptRequest):
    """A request to create a video, which is sent once, to the provider of its model."""

    async def answer(self) -> Response:
        planned = await (self._plan_json() if self.is_json else self._plan_form())
        account = self._account_of(planned.plan.first)
        if not self.ids.are_native:
            self.ids.client_id("", account)  # fails before creating an object whose id could not be signed
        filter = ObjectAnswer(self.service.limits.answer, partial(self.shown, account))
        return await relay(self.relaying.exchange, self.relaying.scope, self.relayed_request(planned, filter))

    async def _plan_json(self) -> PlannedRequest:
        incoming = await self.relaying.read_json()
        target = self.relaying.plan(self.relaying.model_of(incoming)).first
        return self.relaying.plan_json(incoming, Plan.for_target(target, ONCE), partial(replace_model, incoming))

    async def _plan_form(self) -> PlannedRequest:
        """Return the planned request for a form, which may include a first picture."""
        upload = await read_upload(self.relaying)
        incoming = self.relaying.unread_request(upload.model, False)
        target = self.relaying.plan(self.relaying.model_of(incoming)).first
        return self.relaying.plan_upload(incoming, target, await upload.body_for(target.model), upload.kind)

    def _account_of(self, target: Target) -> Account:
        return next(
            one for one in self.usable_accounts() if any(entry.name == target.entry.name for entry in one.entries)
        )


read_new_video = reader_for("videos", VideoRequest)
read_video = reader_for("videos")
