"""The tables that every run writes, whatever it measures."""

from ics.tables import Table, columns

TRAINING = Table(
    "training",
    columns(
        ("step", "int", "number of updates before this one"),
        ("epoch", "int", "epoch of the batch, from 0"),
        (
            "loss",
            "float",
            "loss of the batch before the update, without the penalty: mean per sample, or summed "
            "squared error for a regression; not finite in the last row of a diverged run",
            True,
        ),
        ("accuracy", "float", "share of the batch classified rightly, 0 to 1; nan for a regression", True),
        ("lr", "float", "learning rate of the update"),
    ),
)

EVALUATION = Table(
    "evaluation",
    columns(
        ("step", "int", "number of updates done"),
        ("split", "str", "test, or train where that is evaluated too"),
        ("loss", "float", "loss over the split in eval mode: mean per sample, or summed squared error", True),
        ("accuracy", "float", "share of the split classified rightly, 0 to 1; nan for a regression", True),
    ),
    key=("step", "split"),
)
