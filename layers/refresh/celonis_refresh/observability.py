"""The logger of all functions: one JSON object a line, the run's id in each."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger()
