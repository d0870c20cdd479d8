# The commands of the README. Each one sets up .venv by itself: once, and again when the pinned versions change.
#   make reproduce [SCALE=smoke|laptop|paper] [CORES=N] [DEVICE=auto|cpu|cuda]
#   make reference [CORES=N]
#   make verify [SCALE=...] [CORES=N] [DEVICE=...]
#   make test [CORES=N]
#   make unlock    removes a lock that Snakemake left behind, if no other process works in this folder
CORES ?= all
SCALE ?= laptop
DEVICE ?= auto
PYTHON ?= python3

# Our programs choose their own environment (src/weightdecay/surroundings.py). pip, pytest and the start of Python do not:
# the first two variables would replace the packages of .venv, the next two break pip or switch off tests, and with the
# last one every start of Python would compile libraries anew.
unexport PYTHONHOME PYTHONPATH PYTHONWARNINGS PYTHONOPTIMIZE PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
SNAKEMAKE := $(BIN)/python -m weightdecay.workflow.make
INSTALLED := .venv/installed

.PHONY: reproduce reference verify test unlock setup

reproduce: $(INSTALLED)
	$(SNAKEMAKE) --cores $(CORES) --config scale=$(SCALE) device=$(DEVICE)

reference: $(INSTALLED)
	$(SNAKEMAKE) --cores $(CORES) --config results=reference

verify: $(INSTALLED)
	$(SNAKEMAKE) --cores $(CORES) verify --config scale=$(SCALE) device=$(DEVICE)

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(CORES:all=logical) --dist worksteal

unlock: $(INSTALLED)
	$(SNAKEMAKE) --unlock

setup: $(INSTALLED)

# What the trainer imports comes first, so that its step can be compiled while pip installs the rest. pip compiles nothing,
# as Python does so at the first import, for what is imported. The stamp is written last, so that an interrupted
# installation is repeated.
TRAINER := numba numpy pandas pyarrow pydantic pyyaml scipy threadpoolctl torch tqdm
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is not: name another one with make PYTHON=/path/to/python3."; exit 2; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --constraint requirements.txt $(TRAINER)
	(cd src && exec ../$(BIN)/python -m weightdecay.ensemble.warm_up) & compiling=$$!; trap "kill $$compiling" INT TERM; \
	  $(INSTALL) --requirement requirements.txt --editable . || { kill $$compiling; exit 1; }; wait $$compiling
	@touch $@
