"""Invoices of providers, compared with the ledger, for ``trigate reconcile``.

- ``line``: one charge of an invoice, with its day, and ``InvoiceRow``, which reads the members that state it.
- ``reading`` opens a file and recognizes its format.
- ``openai``, ``anthropic``, ``openrouter``, ``focus``, ``plain``: one module a format. Each reads facts that the
  provider documents publicly, in bounded memory. Amounts are decimals, never floats.
- ``model_names``: the folded form of a model's name, and the providers that one company bills; ``ledger_side``: the
  ledger's usage in the same cells.
- ``sums`` adds both sides up by day, model and account; ``comparison`` explains their differences for a period;
  ``formats`` writes them."""
