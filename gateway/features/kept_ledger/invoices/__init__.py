"""Invoices of providers, compared with the ledger, for ``trigate reconcile``.

- ``line``: one charge of an invoice, with its day, and ``InvoiceRow``, which reads the members that state it.
- ``reading`` opens a file and recognizes its format.
- ``pages`` of OpenAI and Anthropic, ``rows`` of OpenRouter and plain CSV, ``focus``: the formats, as the providers
  document them publicly. Amounts are decimals, never floats.
- ``model_names``: the folded form of a model's name, and the providers that one company bills.
- ``sums`` adds up the invoice and the ledger by day and model; ``comparison`` explains their differences for a period;
  ``formats`` writes them."""
