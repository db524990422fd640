# make reproduce   install, run the quick suite, draw its figures: the main job
# make paper       every run of the paper's VGG figures at its own size, on a machine with a GPU; packed. MINUTES=N stops in
#                  time with all saved, and the same command goes on
# make figures     make figures, claims, report and the README's numbers from the committed tables
# make test        install, lint, check types, run the tests
# make test-full   the tests with their full counts
# make test-portable  the tests with the kernels of an old processor, of one with AVX2, and this one's own
# make test-cluster  sweeps on a real Slurm and a real Ray, of one machine (Debian: installs Slurm as root)
# make test-integrations  the probe in Lightning, transformers, accelerate, peft and W&B, in an environment of their own
# make lock        choose dependency versions anew

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= results/runs
FIGURES ?= results/figures
STAMP := $(VENV)/.installed

# One thread per process: the sweep runs as many processes as there are cores.
export OMP_NUM_THREADS ?= 1
# An import of torch takes twice as long without cached bytecode, and every process imports it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: reproduce paper figures test test-full test-portable test-cluster test-integrations lint lock clean

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11-3.13 is needed, not " + sys.version.split()[0] + "; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock -e .
	touch $@

reproduce: $(STAMP)
	$(BIN)/python scripts/train.py -m experiment=quick,quick_dln,quick_lp hydra/launcher=local runs=$(RUNS)
	$(BIN)/python scripts/reproduce.py --runs $(RUNS) --out $(FIGURES)

MINUTES ?= 1440
PROCESSES ?= 6
PACKED ?= results/reference
WITH ?= data.download=true
paper: $(STAMP)
	timeout $(MINUTES)m $(BIN)/python scripts/train.py -m experiment=fig1,fig2,fig3_vgg,fig4,fig5_vgg scale=paper $(WITH) \
		hydra/launcher=local hydra.launcher.n_jobs=$(PROCESSES) runs=$(RUNS) || test $$? -eq 124
	$(BIN)/python scripts/pack.py $(RUNS)/vgg/paper $(PACKED)/vgg/paper --overwrite

figures: $(STAMP)
	$(BIN)/python scripts/figures.py all --runs results/reference --out results/evidence/figures
	$(BIN)/python scripts/evidence.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto

test-full: lint
	$(BIN)/python -m pytest -n auto -m "not cluster and not integrations"

test-portable: lint
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE $(BIN)/python -m pytest -n auto
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2 $(BIN)/python -m pytest -n auto
	$(BIN)/python -m pytest -n auto

# Ray is big, and wants an older cloudpickle: an environment of its own. What the two share has the same versions.
CLUSTER := $(VENV)-cluster
test-cluster: $(STAMP)
	command -v slurmctld && command -v munged || { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; }
	$(PYTHON) -m venv $(CLUSTER)
	$(BIN)/uv pip install --quiet --python $(CLUSTER)/bin/python -r requirements-cluster.lock -e .
	$(CLUSTER)/bin/python -m pytest -m cluster

INTEGRATIONS := $(VENV)-integrations
test-integrations: $(STAMP)
	$(PYTHON) -m venv $(INTEGRATIONS)
	$(BIN)/uv pip install --quiet --python $(INTEGRATIONS)/bin/python -r requirements.lock -e '.[integrations]'
	$(INTEGRATIONS)/bin/python -m pytest -m integrations

COMPILE := $(BIN)/uv pip compile --universal --quiet --python-version 3.11 pyproject.toml --extra dev --extra sweep --extra report
lock: $(STAMP)
	$(COMPILE) -o requirements.lock
	cp requirements.lock requirements-cluster.lock
	$(COMPILE) --extra ray -o requirements-cluster.lock

clean:
	rm -rf $(VENV) $(CLUSTER) $(INTEGRATIONS) .pytest_cache .mypy_cache .ruff_cache
