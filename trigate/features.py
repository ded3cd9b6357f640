"""The contract for features of other packages: what ``features`` of a configuration may name.

A package has one ``Feature`` with ``contract=1``, the ``CONTRACT`` for which it is written. The modules
``gateway.seams`` describe each name: what it may do, when, and what errors and cancellation mean."""

from configfile.keys import part_of, setting
from gateway.config.settings import Config
from gateway.http.headers import Headers
from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.feature import CONTRACT, Feature, Keys
from gateway.seams.hooks import Hooks
from gateway.seams.observe import ExchangeObserver
from gateway.seams.running import Addition, Ports, Running

__all__ = [
    "CONTRACT", "Addition", "ArrivedRequest", "Config", "ExchangeObserver", "Feature", "Headers", "Hooks", "Keys",
    "Ports", "Record", "Running", "part_of", "setting",
]  # fmt: skip
