"""Train and measure: `python scripts/train.py experiment=quick norm=batch seed=0`; `-m` sweeps. See --help."""

import os
import sys
from pathlib import Path
from typing import Any

from ics.program import program

CONF = Path(__file__).parents[1] / "conf"


@program
def main(arguments: list[str] | None) -> None:
    """Hands the command line to Hydra."""
    import hydra

    from hydra_plugins.ics_request import reading
    from hydra_plugins.ics_words import hydra_words

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors its own way
    sys.argv[1:] = hydra_words(sys.argv[1:], lambda group: sorted(file.stem for file in (CONF / group).glob("*.yaml")))
    with reading():
        hydra.main(version_base="1.3", config_path="../conf", config_name="train")(one)()


def one(config: Any) -> str:
    """One run; its final state is the return value. A sweep tells itself what becomes of its runs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from hydra_plugins.ics_request import grid_of, read_request
    from ics.errors import UserError
    from ics.runs.execute import run
    from ics.runs.signals import PARENT_WATCH, Interrupted, Parent

    hydra_config, parent = HydraConfig.get(), Parent()
    os.chdir(hydra_config.runtime.cwd)  # a worker on a cluster may have started anywhere
    alone = hydra_config.mode == RunMode.RUN
    try:
        request = read_request(config, hydra_config)
        given = {word.lstrip("~").partition("=")[0] for word in request.command}
        rest = [f"{key}={value}" for key, value in grid_of(hydra_config).items() if key not in given]
        if alone and rest:
            print(f"one run of a grid; with -m it is all of {' '.join(rest)}", file=sys.stderr)
        if request.plan:
            from ics.runs.execute import try_out

            print(request.folder)
            try_out(request.config)
            return "planned"
        name = request.name if alone else None
        status = run(request.config, request.folder, request.command, request.overwrite, name)
    except UserError as error:
        if not alone:
            raise
        print(f"error: {error}", file=sys.stderr)  # here, because Hydra would add words of its own
        sys.exit(2)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from here: {request.folder}", file=sys.stderr)
        sys.stderr.flush()
        if parent.is_gone(within=PARENT_WATCH):  # the worker of a sweep that was stopped, too, would wait for more work
            os._exit(stop.exit_code)
        sys.exit(stop.exit_code)
    if alone:
        print(f"{status.state}: {request.folder} ({status.step} steps, {status.seconds:.0f} s)")
    return status.state


if __name__ == "__main__":
    sys.exit(main())
