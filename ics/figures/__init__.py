"""The figures, drawn from CSV files alone: what each needs and how it is drawn, one driver, one look.

Nothing here imports torch.
"""

import sys

# Where scipy is, seaborn imports it for kernel densities and clusters: two of three seconds, for what no figure has.
_SPARED = {"scipy.stats", "scipy.cluster"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_SPARED))  # type: ignore[arg-type]  # None: as if it were not installed
try:
    import seaborn  # noqa: F401
finally:
    for _name in _SPARED:
        del sys.modules[_name]
