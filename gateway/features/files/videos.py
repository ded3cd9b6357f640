"""Videos at providers with OpenAI's former API: created by model, then identified by id.

The videos pass through the gateway with the provider's credential, which their URLs require (decolua/9router#3966,
api7/aisix#820)."""

from collections.abc import Callable
from functools import partial

import attrs

from gateway.exchange.planned import PlannedRequest
from gateway.features.files.kept import KeptRequest, reader_for
from gateway.features.files.object_answers import ObjectAnswer
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.relay.answers import decode_json
from gateway.relay.outputs import video_output
from gateway.relay.relay import relay
from gateway.relay.relaying import replace_model
from gateway.relay.uploads import read_priced_upload
from gateway.request.prepared import NO_OUTPUT, RequestedOutput
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.neutral.draft import Draft
from streams.events import Usage


class VideoAnswer(ObjectAnswer):
    """The response to a request for a video, which is billed by the seconds in the response, or else in the request."""

    def __init__(self, limit: int, shown: Callable[[bytes], bytes], requested: RequestedOutput) -> None:
        super().__init__(limit, shown)
        self._requested = requested

    def close(self) -> bytes:
        out = super().close()
        value = decode_json(out)
        found = video_output(value.get("seconds") if isinstance(value, dict) else None)
        is_stated = not found.max_units
        self.usage = Usage(units=(found if is_stated else self._requested).units, estimated=not is_stated)
        return out


class VideoRequest(KeptRequest):
    """A request to create a video, which is sent once, to the provider of its model."""

    _output = NO_OUTPUT

    async def answer(self) -> Response:
        planned = await (self._plan_json() if self.is_json else self._plan_form())
        account = self._account_of(planned.plan.first)
        if not self.ids.are_native:
            self.ids.client_id("", account)  # fails before creating an object whose id could not be signed
        filter = VideoAnswer(self.service.settings.limits.answer, partial(self.client_body, account), self._output)
        planned = attrs.evolve(planned, has_deadline=False)
        return await relay(self.inbound.exchange, self.inbound.scope, self.relayed_request(planned, filter))

    async def _plan_json(self) -> PlannedRequest:
        incoming = await self.inbound.read_json()
        self._output = video_output(Draft(incoming.json).value("seconds"))
        once = Plan.once(self.inbound.plan(self.inbound.model_of(incoming)).first)
        incoming, plan = await self.inbound.locate(incoming, once)
        return self.inbound.plan_json(incoming, plan, partial(replace_model, incoming))

    async def _plan_form(self) -> PlannedRequest:
        """Return the planned request for a form, which may include a first picture."""
        upload = await read_priced_upload(self.inbound)
        self._output = video_output(upload.fields.get("seconds"))
        incoming = self.inbound.unread_request(upload.model, False, upload.fields)
        target = self.inbound.plan(self.inbound.model_of(incoming)).first
        body = await upload.body_for(target.model)
        return self.inbound.plan_upload(incoming, target, body, upload.kind, self._output)

    def _account_of(self, target: Target) -> Account:
        return next(
            one for one in self.usable_accounts() if any(entry.name == target.entry.name for entry in one.entries)
        )


read_new_video = reader_for("videos", VideoRequest)
read_video = reader_for("videos")
