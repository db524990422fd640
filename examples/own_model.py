"""The probe on a network that this project knows nothing of: torchvision's ResNet-18, some steps on random images.

python examples/own_model.py
"""

import torch
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from ics import ShiftProbe

STEPS, BATCH = 3, 8
LAYERS = ["conv1", "layer1.0.conv1", "layer2.0.downsample.0", "layer3.0.conv1", "layer4.1.conv2", "fc"]


def main() -> None:
    """Trains, and prints a table of the shift."""
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = ShiftProbe(model, cross_entropy, layers=LAYERS)
    print(f"{'step':>4}  {'layer':<24} {'‖G − G′‖₂':>10} {'‖G − G′‖/‖G‖':>13} {'cosine':>7}")
    for step in range(STEPS):
        x, y = torch.randn(BATCH, 3, 64, 64), torch.randint(10, (BATCH,))
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        with probe.observe(x, y) as shift:
            optimizer.step()
        for row in shift.rows:
            name = f"#{row.layer_index} {row.layer}"
            print(f"{step:>4}  {name:<24} {row.l2:>10.4f} {row.relative_l2:>13.3f} {row.cosine:>7.3f}")
    probe.close()


if __name__ == "__main__":
    main()
