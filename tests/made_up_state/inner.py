"""A module of the package."""

import made_up_state as outer

CALLS = 0
__all__ = ["CALLS", "outer"]
