"""The batch normalisations of a model."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from ics.errors import UserError


def find_batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations of a model by qualified name, in order of registration.

    Raises:
        UserError: one of them has no running statistics.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    for name, module in found.items():
        which = f"batch normalisation {name!r}" if name else "the batch normalisation"
        if module.running_mean is None or module.running_var is None:
            raise UserError(f"{which} keeps no running statistics; it was made with track_running_stats=False")
        if is_lazy(module.running_mean):
            raise UserError(f"{which} does not know its size yet; pass a batch through the model first")
    return found
