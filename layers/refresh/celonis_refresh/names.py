"""The names that people give to pipelines, and to the sources beside them."""

from __future__ import annotations

import re

from celonis_refresh.validation.convert import PatternType

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,47}$"
"""Short enough for an execution's name (80 characters) to hold it, a date and eight characters more."""
NAME_RULE = f"a letter, then up to 47 letters, digits, hyphens or underscores ({NAME_PATTERN})"
"""The pattern in words, for messages."""


class PipelineName(PatternType):
    """The name of a pipeline, in a rule or in an inline definition."""

    PATTERN = NAME_PATTERN
    EXPECTED = f"expected {NAME_RULE}"


def is_name(text: str) -> bool:
    """Return whether a pipeline or a source can have this name: what is none is never asked for."""
    return re.fullmatch(NAME_PATTERN, text) is not None
