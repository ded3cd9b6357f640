"""Holds clients and targets to what they may use: rates, requests at once, budgets. ``allowance`` says what is counted,
and how much of it a request is."""
