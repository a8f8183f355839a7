"""Parses Amazon Resource Names."""

from typing import NamedTuple


class Arn(NamedTuple):
    """`arn:partition:service:region:account:resource`; `resource` keeps its own colons and slashes."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Raises ValueError if the text is not an ARN."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            raise ValueError(f"not an ARN: {text}")
        return cls(*parts[1:])
