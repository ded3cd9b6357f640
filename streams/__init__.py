"""Events and bytes of streams; knows nothing of HTTP or providers.

- ``events``: the frozen events of every answer; ``fold`` combines them into a complete answer
- ``answer_differences``: the differences between two answers
- ``framing``: how events are encoded in bytes: ``sse`` as server-sent events, ``event_stream`` as Amazon's frames
- ``event_log`` stores and repeats events
- ``pipe``: the trio tasks of a stream, with its ``timeouts``; ``handoff``: a bounded channel whose consumer may receive
  an item immediately
- ``garbage``: when Python's garbage collector may run
- ``errors``: the one family of exceptions
- ``structure`` counts the elements of JSON before it is decoded; ``whole_json`` finds its end;
  ``surrogates``: JSON with unpaired surrogates
"""
