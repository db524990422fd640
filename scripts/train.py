"""Train and measure: `python scripts/train.py experiment=quick norm=batch seed=0`; `-m` sweeps. See conf/."""

import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ics.errors import UserError
from ics.runs import Interrupted, parse, run
from ics.runs.naming import run_folder


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> str:
    """One run; its final state is the return value."""
    hydra_config = HydraConfig.get()
    folder_name = run_folder(hydra_config.runtime.choices, config, hydra_config.overrides.task)  # type: ignore[arg-type]
    runs, overwrite, plan = config.runs, config.overwrite, config.plan
    with open_dict(config):
        for key in ("runs", "overwrite", "plan"):
            del config[key]
    folder = Path(runs) / folder_name
    if plan:
        print(folder)
        return "planned"
    try:
        settings: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        status = run(parse(settings), folder, sys.argv, overwrite, name=str(folder_name))
    except UserError as error:
        if hydra_config.mode == RunMode.MULTIRUN:
            raise  # the sweep goes on, and tells at its end
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from here: {folder}", file=sys.stderr)
        sys.exit(stop.exit_code)
    print(f"{status.state}: {folder} ({status.step} steps, {status.seconds:.0f} s)")
    return status.state


if __name__ == "__main__":
    main()
