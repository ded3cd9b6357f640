"""A provider's Responses answer, read by kind of item.

``wire`` decodes events. ``answer`` is what all kinds share while an answer comes in, ``items`` finds the item of an
event. Each kind has a module with a function for each of its events and one that finishes an item which is there whole:
``messages``, ``reasoning``, ``calls``. ``whole_items`` chooses among them, and passes all other items on as they are;
``hosted_tools`` counts those that are billed.
"""
