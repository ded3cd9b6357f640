"""What all tests share."""

from hypothesis import HealthCheck, settings

# How fast examples are made says something about the machine, not about the code; and a run that finds what the last
# did not find should be one that was asked to look: `pytest --hypothesis-profile=explore`.
_shared = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _shared)
settings.register_profile("shared", _shared, derandomize=True)
settings.load_profile("shared")
