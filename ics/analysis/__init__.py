"""From CSV files to tidy frames, statistics over seeds, and the paper's curves. Nothing here needs torch."""

from ics.analysis.load import NoRuns, Runs, load_runs
from ics.analysis.paper import paper_curves
from ics.analysis.seeds import over_seeds

__all__ = ["NoRuns", "Runs", "load_runs", "over_seeds", "paper_curves"]
