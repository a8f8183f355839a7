"""Telling the name of a secret from a secret."""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 128
_NAME: Final = r"[A-Za-z0-9/_+.@-](?:[A-Za-z0-9/_+=.@-]*[A-Za-z0-9/_+.@-])?"
# How issuers begin what they issue (Standard Webhooks, dbt, Shopify, Stripe, GitHub, GitLab, Slack), in any
# case: they are looked for in lower case, since a pattern that ignores case takes long to compile.
_ISSUED: Final = r"whsec_|dbt[a-z]_|shp[a-z]{2}_|[rs]k_(?:live|test)_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-"
# Those whose case tells them from a word: AWS, JSON Web Tokens.
_ISSUED_AS_IS: Final = r"(?:AKIA|ASIA)[A-Z0-9]{16}|eyJ"
_RANDOM: Final = r"[0-9a-fA-F-]{32,}|(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+]{40,}"


def check_secret_name(value: str) -> str:
    """The name itself. Raises ``ValueError``, which never repeats the value: it may be the secret."""
    if len(value) > MAX_NAME or not re.fullmatch(_NAME, value):
        raise ValueError(
            f"expected the name of a secret: at most {MAX_NAME} of letters, digits and /_+=.@-, not its value"
        )
    if _is_issued(value) or re.fullmatch(_RANDOM, value):
        raise ValueError("expected the name of a secret; this looks like the secret itself")
    return value


def _is_issued(value: str) -> bool:
    return bool(re.match(_ISSUED, value.lower()) or re.match(_ISSUED_AS_IS, value))
