"""The exceptions of this package."""


class ProbeError(RuntimeError):
    """The shift cannot be measured as asked; the message is one line that says why and what to do."""


class OtherGradients(ProbeError):
    """What stands in `.grad` is not the gradient of the loss, though its pass repeats: G can be computed anew."""
