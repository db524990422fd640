"""The one exception of this package."""


class ProbeError(RuntimeError):
    """The shift cannot be measured as asked; the message is one line that says why and what to do."""
