"""Pages of parameters as in Parameter Store.

An unknown token is rejected, and a parameter that is created between two pages does not end the list.
"""

from __future__ import annotations

from collections.abc import Iterator

from moto.ssm.exceptions import SSMException
from moto.ssm.models import Parameter, ParameterDict, SimpleSystemManagerBackend

PAGE = SimpleSystemManagerBackend._get_values_nexttoken


class InvalidNextToken(SSMException):
    """The token was not returned by a page."""

    def __init__(self) -> None:
        super().__init__("InvalidNextToken", "The specified token is not valid.")


def use_strict_pages() -> None:
    """Replace the two functions of moto."""
    SimpleSystemManagerBackend._get_values_nexttoken = page  # type: ignore[method-assign]
    ParameterDict.get_keys_beginning_with = names  # type: ignore[method-assign]


def page(
    self: SimpleSystemManagerBackend, values_list: list[Parameter], max_results: int, token: str | None = None
) -> tuple[list[Parameter], str | None]:
    """Return a page like moto; only moto's own tokens, which are numbers, are valid."""
    if token and not (token.isascii() and token.isdigit()):
        raise InvalidNextToken
    return PAGE(self, values_list, max_results, token)


def names(self: ParameterDict, path: str, recursive: bool) -> Iterator[str]:
    """Return the names of the current parameters below a path."""
    self._check_loading_status(path)
    below = (name for name in list(self) if path == "/" or name.startswith(path))
    return (name for name in below if recursive or "/" not in name[len(path) + 1 :])
