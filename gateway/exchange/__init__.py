"""Processes one request from its body to its settlement.

- ``exchange``: the whole process
- ``planning``: reads the request and makes its plan, in the steps of its table ``STEPS``; ``planned`` is the result,
  ``requested_plan`` the plan for the requested models
- ``target_request``: the request for one target; ``disclosure``: what the client may see of its response
- the source of a response: the ``walk`` of the plan, or what a feature wraps around it (``origin``)
- ``attempt``: one request to one target, with a ``watched_upload``; ``sending`` signs it; ``hedged`` runs two;
  ``conditions`` is the policy's input
- ``attempt_account``: records an attempt; ``reserving`` estimates a request
- ``attempt_answer``: a response until its first content, made by ``answering``: a ``whole_answer`` or a ``stream``
- ``delivering``: the tasks of a response; ``delivery`` is its state machine, ``body`` its body
- ``transformed``: the reading of a response through the transform of a feature; ``stopped_answer``: the answer to a
  request that is refused with a text
- ``disconnect``: responses that continue without the client
- ``responding``: the headers of responses, and errors
- ``context``: the state of one exchange; ``service``: the state of the process"""
