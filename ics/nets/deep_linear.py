"""The deep linear network."""

from torch import nn

from ics.errors import UserError
from ics.nets.base import NETS, NamedModule, chain
from ics.nets.norms import NormFactory
from ics.registry import Count


@NETS.register("deep_linear")
def deep_linear(
    norm: NormFactory,
    input_shape: tuple[int, ...],
    outputs: int,
    depth: Count = 25,
    width: Count = 10,
    norm_last: bool = True,
) -> nn.Module:
    """Square linear maps W_k⋯W₁x without biases or non-linearities: linear1, norm1, ….

    The deep linear network of Santurkar et al. 2018, figure 3b.

    Args:
        norm: placed after every linear map.
        input_shape: (width,).
        outputs: equal to `width`.
        depth: number of linear maps.
        width: size of the square maps; that of the data.
        norm_last: whether the last map is followed by a norm as well.

    Returns:
        A network from (N, width) to (N, width).

    Raises:
        UserError: input or output are not of size `width`.
    """
    if input_shape != (width,) or outputs != width:
        raise UserError(
            f"the deep linear network has square layers: width {width} does not fit inputs of shape "
            f"{input_shape} and {outputs} outputs; set model.width to the size of the data (data.dim of "
            "data=gaussian)"
        )

    modules: list[NamedModule] = []
    for layer in range(1, depth + 1):
        modules.append((f"linear{layer}", nn.Linear(width, width, bias=False)))
        if layer < depth or norm_last:
            modules.append((f"norm{layer}", norm(width, 0)))
    return chain(*modules)
