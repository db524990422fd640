"""Train and measure: `python scripts/train.py experiment=quick norm=batch seed=0`; `-m` sweeps. See conf/."""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from hydra_plugins.ics_errors import one_line_errors
from hydra_plugins.ics_request import read_request
from ics.errors import UserError
from ics.runs import Interrupted, parse, run


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> str:
    """One run; its final state is the return value."""
    hydra_config = HydraConfig.get()
    os.chdir(hydra_config.runtime.cwd)  # a worker on a cluster may have started anywhere
    try:
        request = read_request(config, hydra_config)  # type: ignore[arg-type]
        if request.plan:
            print(request.folder)
            return "planned"
        status = run(parse(request.settings), request.folder, request.command, request.overwrite, name=request.name)
    except UserError as error:
        if hydra_config.mode == RunMode.MULTIRUN:
            raise  # the sweep goes on, and tells at its end
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from here: {request.folder}", file=sys.stderr)
        sys.exit(stop.exit_code)
    print(f"{status.state}: {request.folder} ({status.step} steps, {status.seconds:.0f} s)")
    return status.state


if __name__ == "__main__":
    with one_line_errors():
        main()
