"""One request from its body to its settlement.

``exchange`` is its course. ``planned`` is the client's request with its plan, which ``planning`` makes step by step
(its table ``STEPS``; ``BEFORE_SENDING`` of ``exchange`` is for every request), and ``target_request`` the same as it
goes to one target. ``origin`` says where an answer may come from: the ``walk`` of the plan, one ``attempt`` after the
other or two that are ``hedged``, under the ``conditions`` of the moment, or the cache of answers around that
(``cache_lookup``, ``cache_filling``). ``attempt_account`` books what becomes of an attempt; ``reserving`` says what is
expected of it. ``attempt_answer`` is an answer up to where it may go to the client, which ``answering`` makes of the
provider's: a ``whole_answer``, or a ``stream``. ``delivering`` runs the tasks of an answer that goes to its client
while it is read: ``delivery`` is its course as a table, ``body`` the response that follows it. ``disconnect`` goes on
without the client. ``kept_ids`` are ids of files in conversations. ``responding`` writes the head of every response,
and errors in the client's shape. ``context`` is what all attempts of one exchange share, ``service`` what all exchanges
of a process share.
"""
