"""The states of a run, as `status.json` names them. Both the writing and the reading side know only this."""

from typing import Literal, get_args

State = Literal["running", "done", "diverged", "failed", "interrupted"]
STATES: tuple[State, ...] = get_args(State)
FINISHED: tuple[State, ...] = ("done", "diverged")
