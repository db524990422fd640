"""A package whose state a model changes, in ways that name it only when they do so."""

from typing import Any

from made_up_state import inner as inner

CALLS = LATE = NAMED = 0


class Named:
    """Finds a method by its name."""

    def calls(self, kind: str) -> float:
        return float(getattr(self, f"do_{kind}")())

    def do_count(self) -> int:
        global NAMED
        NAMED += 1
        return NAMED


def calls(net: Any) -> float:
    import made_up_state.inner as late

    late.CALLS += 1
    globals()["CALLS"] += 1
    late.outer.LATE += 1
    return late.CALLS + CALLS + LATE + net.part.calls("count")
