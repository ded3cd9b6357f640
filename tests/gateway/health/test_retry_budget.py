"""What a provider may be sent beside what clients bring."""

from gateway.health.retry_budget import RetryBudget


def test_a_fifth_of_what_clients_bring_and_thirty():
    budget = RetryBudget()
    for _ in range(100):
        budget.brought(5.0)
    added = 0
    while budget.may_add(6.0, 0.2):
        budget.added(6.0)
        added += 1
    assert added == 50


def test_without_requests_of_clients_three_a_second():
    budget = RetryBudget()
    added = 0
    for second in range(100):
        while budget.may_add(second, 0.2):
            budget.added(second)
            added += 1
    assert added == 300


def test_what_is_ten_seconds_ago_is_over():
    budget = RetryBudget()
    for _ in range(30):
        budget.added(3.2)
    assert not budget.may_add(12.9, 0.2)
    assert budget.may_add(13.0, 0.2)
    assert budget.may_add(1e6, 0.2)


def test_an_outage_of_everything_is_not_multiplied():
    """Retries turned one provider's limit into thousands of refusals (bman654/clodex#81): under a constant load of
    which every request fails and wants three more, the provider sees a fifth more, and three a second."""
    budget, sent = RetryBudget(), 0
    for tick in range(100 * 60):
        now = tick / 100
        budget.brought(now)
        sent += 1
        for _ in range(3):
            if budget.may_add(now, 0.2):
                budget.added(now)
                sent += 1
    assert sent <= 100 * 60 * 1.2 + 3 * 60 + 30


def test_workers_share_what_is_always_there():
    budgets = [RetryBudget(workers=3) for _ in range(3)]
    added = 0
    for budget in budgets:
        while budget.may_add(1.0, 0.2):
            budget.added(1.0)
            added += 1
    assert added == 30
