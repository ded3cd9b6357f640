"""All warnings about a valid configuration that probably does less, or reveals more, than intended."""

from collections.abc import Sequence

from gateway.config.settings import Config, Remark
from gateway.config_reports.doubtful_budgets import forgotten_budgets, uncounted_models
from gateway.config_reports.doubtful_clients import empty_groups, expiring_keys
from gateway.config_reports.doubtful_routes import doubtful
from gateway.config_reports.weak_secrets import weak


def warnings_of(config: Config) -> Sequence[str]:
    """Return all warnings about a valid ``config``: those of its reading, and doubts about the whole."""
    return (
        *config.warnings,
        *doubtful(config), *forgotten_budgets(config), *uncounted_models(config), *expiring_keys(config),
        *empty_groups(config), *weak(config),
    )  # fmt: skip


def remarks_on(config: Config) -> Sequence[tuple[Remark, str]]:
    """Return all warnings, and the notes."""
    return (*(("warning", text) for text in warnings_of(config)), *(("note", text) for text in config.notes))
