"""What all the tests of this folder left behind. These run last."""

from __future__ import annotations

from tests.stack.environment import StackEnvironment
from tests.stack.runs.permissions import unforeseen
from tests.stack.runs.service import WEBHOOK_SECRET
from tests.stack.triggers.sender_requests import CREDENTIALS, SECRET, WHSEC


def test_no_secret_was_logged_or_answered(environment: StackEnvironment) -> None:
    secrets = {
        SECRET,
        WHSEC,
        CREDENTIALS.partition(":")[2],
        WEBHOOK_SECRET,
        *environment.service.secrets,
        *environment.tokens,
    }
    logged = [line.text for line in environment.service.stack.logs()]
    access = (environment.local_service.stack.state_dir / "logs").glob("*.log")
    logged += [path.read_text(encoding="utf-8") for path in access]
    assert logged
    assert environment.service.responses
    for text in (*logged, *environment.service.responses):
        assert not [secret for secret in secrets if secret in text]


def test_nothing_was_answered_with_a_stack_trace(environment: StackEnvironment) -> None:
    for text in environment.service.responses:
        assert "Traceback" not in text
        assert ".py" not in text


def test_nothing_was_refused_but_what_was_withheld_on_purpose(environment: StackEnvironment) -> None:
    assert unforeseen(environment.service.stack) == []


def test_no_attack_was_an_error_of_ours(environment: StackEnvironment) -> None:
    """One test takes a permission away; all else that was unexpected would be logged as such."""
    lines = [
        line.text for line in environment.service.stack.logs("Trigger") if "unexpected error" in line.text
    ]
    assert [line for line in lines if "not authorized" not in line] == []
    assert len(lines) <= 1
