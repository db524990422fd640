"""Three questions to finished runs, answered with pandas from their CSV files.

python examples/analyse.py                                        # the committed runs of Ioffe & Szegedy's network
python examples/analyse.py results/runs/vgg                       # others with the tables shift and input_shift
"""

import sys

import pandas as pd

import ics

FOLDER = "results/reference/mnist/ioffe_szegedy"
PHASES = {"first step": 0.0, "first 2 %": 0.02, "to 10 %": 0.1, "to 50 %": 0.5, "to the end": 1.0}
RUN = ["optimizer.lr", "norm.name", "seed"]


def with_and_without(shift: pd.DataFrame, column: str) -> pd.DataFrame:
    """BatchNorm over standard: medians over the steps of a phase, then over the seeds; for each rate and layer."""
    medians = shift.groupby([*RUN, "layer_index", "phase"], observed=True)[column].median()
    over_seeds = medians.groupby(["norm.name", "optimizer.lr", "layer_index", "phase"], observed=True).median()
    return (over_seeds["batch"] / over_seeds["none"]).unstack("phase")


def rank_correlation(shift: pd.DataFrame, older: pd.DataFrame, column: str) -> pd.DataFrame:
    """Spearman's ρ over the steps between the two meanings of the shift, run by run, then the median over the seeds."""
    both = shift.merge(older, on=["run", "step", "layer_index"], suffixes=("", " older"))
    ranks = both.groupby(["run", "layer_index"], observed=True)[["l2", column]].rank()
    grouped = both.assign(new=ranks["l2"], old=ranks[column]).groupby([*RUN, "layer_index"], observed=True)
    rho = grouped[["new", "old"]].corr().xs("new", level=-1)["old"]
    return rho.groupby(["optimizer.lr", "layer_index", "norm.name"], observed=True).median().unstack("norm.name")


def main(folder: str) -> None:
    """Prints the answers."""
    runs = ics.load_runs(folder)
    shift = runs["shift"]
    shift = shift[shift["norm.name"].isin(["none", "batch"]) & (shift["layer_index"] > 1)]  # layer 1 has none
    share = shift["step"] / shift["step"].max()
    shift = shift.assign(phase=pd.cut(share, [-1.0, *PHASES.values()], labels=list(PHASES)))

    print("1. At which layers, and when, does batch normalisation lower the shift? ‖G − G′‖₂, BN / standard")
    print(with_and_without(shift, "l2").to_string(float_format="%.2f"), end="\n\n")
    print("2. And relative to the gradient? ‖G − G′‖₂ / ‖G‖₂, BN / standard")
    print(with_and_without(shift, "relative_l2").to_string(float_format="%.2f"), end="\n\n")

    print("3. Do the meanings of 2018 and of 2015 go together? Rank correlation over the steps", end=" ")
    if "input_shift" in runs:
        print("with how far an update moves a layer's inputs")
        rho = rank_correlation(shift, runs["input_shift"], "relative_wasserstein")
    else:
        print("with how far an update moves the mean of a layer's outputs")
        activations = runs["activations"]
        rho = rank_correlation(shift, activations[activations["unit"] == -1], "mean_step_change")  # -1: all units
    print(rho.to_string(float_format="%.2f"))


if __name__ == "__main__":
    main(*(sys.argv[1:] or [FOLDER]))
