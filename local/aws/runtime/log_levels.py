"""Decides which log lines Lambda keeps if logs are JSON and a level is set."""

import json
import re
from typing import Any

_RANKS = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "ERROR": 4, "FATAL": 5}
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def is_kept(text: str, log_format: str, level: str) -> bool:
    """Whether Lambda sends this line to CloudWatch. `level` is the function's ApplicationLogLevel."""
    return log_format != "JSON" or _RANKS[_level_of(text)] >= _RANKS[level or "INFO"]


def _level_of(text: str) -> str:
    """The line's own level; INFO where it has none, an unknown one, or no timestamp as of RFC 3339."""
    try:
        line: Any = json.loads(text)
    except ValueError:
        return "INFO"
    if not isinstance(line, dict) or not _RFC_3339.fullmatch(str(line.get("timestamp", ""))):
        return "INFO"
    level = str(line.get("level", "")).upper()
    return level if level in _RANKS else "INFO"
