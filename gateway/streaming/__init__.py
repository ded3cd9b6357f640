"""Provider bytes to client bytes, pure: ``passthrough`` and ``translation`` are the two lanes, ``lane`` what they
have in common, ``progress`` how far a stream is, ``doubt`` whether a whole answer is one, ``whole`` reads what came in
one piece, ``reframed`` puts a stream into another framing than its API's own."""
