"""Secrets in stores: Vault and OpenBao, and those of AWS, Google and Azure.

``stores`` reads secrets, with ``vault``, ``clouds`` and ``fetching``, their requests. ``keeping`` keeps the texts of a
process, reads them again while it runs, and supplies requests with them. Nothing here is imported without such a
secret.
"""
