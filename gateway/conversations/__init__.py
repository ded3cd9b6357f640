"""What a request takes from earlier turns and leaves for later ones.

``recorder`` is the seam that the exchange sees, ``history`` loads what a request refers to; ``responses`` and
``threads`` are the APIs that have it, ``turns`` one turn that is stored, ``background`` turns that go on without their
client. ``bodies`` is what stands in a node of the store, ``items`` a conversation that grows."""
