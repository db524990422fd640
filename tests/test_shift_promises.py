"""What is promised on any model: the definition's bits, and a training as if nothing had been measured; or an error."""

import pytest
from rebuilt import STEPS, check
from situations import SITUATIONS


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*vmap:UserWarning")
def test_a_situation(name: str) -> None:
    build, expected = SITUATIONS[name]
    outcome = check(build, may_refuse=range(STEPS))
    assert "\n" not in outcome
    assert outcome.startswith(expected) if expected.startswith("refused: ") else outcome == expected
