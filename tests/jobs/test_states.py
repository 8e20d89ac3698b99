"""The table of moves."""

from hypothesis import given
from hypothesis import strategies as st

from jobs import states
from jobs.states import ALLOWED, HELD, TERMINAL, Status


def test_every_state_has_its_moves() -> None:
    assert set(ALLOWED) == set(Status)


def test_only_what_has_ended_stays() -> None:
    assert {status for status, targets in ALLOWED.items() if not targets} == TERMINAL


def test_a_held_job_can_be_released_unless_its_end_was_asked_for() -> None:
    assert {status for status in HELD if Status.QUEUED not in ALLOWED[status]} == {Status.CANCELLING}


def test_nothing_is_cancelled_while_its_process_may_run() -> None:
    assert states.sources(Status.CANCELLED) == {Status.QUEUED, Status.PAUSED, Status.CANCELLING}


@given(st.sampled_from(Status), st.sampled_from(Status))
def test_sources_are_the_moves_read_backwards(source: Status, target: Status) -> None:
    assert (source in states.sources(target)) == (target in ALLOWED[source])


ACTIONS = {
    "queued": ["pause", "cancel"],
    "running": ["pause", "cancel"],
    "pausing": ["cancel"],
    "paused": ["resume", "cancel"],
    "cancelling": [],
    "succeeded": ["delete"],
    "failed": ["retry", "delete"],
    "cancelled": ["retry", "delete"],
    "timed_out": ["retry", "delete"],
}


def test_actions_fit_the_state() -> None:
    assert {status: states.allowed_actions(status) for status in Status} == ACTIONS
