"""The steps for the response of one attempt, as the kernel sees them: ``ResponseChecks``."""

from gateway.features.steps.answer_texts import is_sound
from gateway.features.steps.checked_stream import CheckedBody, CheckedStream
from gateway.features.steps.relayed_bodies import HeldRelayedBody, PassedBody
from gateway.features.steps.relayed_stream import RelayedStream
from gateway.features.steps.response_steps import ResponseSteps
from gateway.seams.open_response import OpenedResponse, StreamTransform, Transform


class AttemptSteps(ResponseSteps):
    """The steps for a response, with its transforms."""

    def open_stream(self, opened: OpenedResponse) -> StreamTransform:
        return CheckedBody(self, opened) if opened.framing is None else CheckedStream(self, opened)

    def open_body(self, opened: OpenedResponse) -> Transform:
        """Return the transform of a response: an event stream is released as its steps allow, any other response is
        held until they have checked all of it. Steps that only report hold nothing."""
        if opened.framing is not None:
            return RelayedStream(self, opened)
        if is_sound(opened.api, opened.content_type) or not self.holds_responses:  # no step can read sound
            return PassedBody(self, opened)
        return HeldRelayedBody(self, opened)
