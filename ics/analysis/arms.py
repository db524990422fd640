"""An arm: what the paper calls a network with one kind of normalisation."""


def arm_of(norm: str) -> str:
    """The arm that a setting `norm.name` stands for: no normalisation is the paper's "standard"."""
    return "standard" if norm == "none" else norm
