"""The choice of a target within a group.

``balancer`` orders each group of a plan by one of ``rules``, using ``loads``: open responses, and times to first
content. The target whose prompt cache has the request's conversation (``affinity``) comes first.
``hedge_shares`` limits hedges."""
