"""The choice within a group: ``balancer`` orders the members of each group of a plan by a rule of ``rules``, from their
``loads`` (open answers, and times to first content), and puts the member first that has a conversation's prompt in its
cache, by the request's ``affinity``.
"""
