"""Names of pipelines and of sources."""

from __future__ import annotations

import re

from celonis_refresh.validation.convert import PatternType

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,47}$"
"""Short enough for the name of an execution (80 characters), which adds a date and eight characters."""
NAME_RULE = f"a letter, then up to 47 letters, digits, hyphens or underscores ({NAME_PATTERN})"
"""The pattern in words."""


class PipelineName(PatternType):
    """The name of a pipeline, in a rule or in an inline definition."""

    PATTERN = NAME_PATTERN
    EXPECTED = f"expected {NAME_RULE}"


def is_name(text: str) -> bool:
    """Return whether a pipeline or a source can have this name."""
    return re.fullmatch(NAME_PATTERN, text) is not None
