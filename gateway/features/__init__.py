"""The features of the gateway, each in a folder of its own: ``order`` lists them,
and ``known`` has their rows."""
