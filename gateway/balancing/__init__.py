"""Which of a group is asked: ``balancer`` orders the members of each group of a plan by a rule of ``rules``, from their
``loads`` (open answers, and times to first content in ``latencies``), and puts the member in front that holds a
conversation's prompt in its cache, by the request's ``affinity``."""
