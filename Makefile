# Two commands for a machine that has only Python (3.10 or newer), pip and make:
#   make demo   reconstructs the embedded acquisition and prints what came out
#   make test   runs the whole test suite
# Both create .venv and install the package first, once; later calls are quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test test-fast check format clean help

help:
	@sed -n '1,4p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mri_alps needs Python 3.10 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@# Some systems ship Python without ensurepip: then the machine's own pip fills the venv.
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

# Nobody shall wait for gigabytes unannounced. PyPI's torch for Linux brings CUDA's libraries, and its
# torchvision does not load beside a torch without them: both must come from one index.
define announce
@echo "installing into $(VENV): some 6 GB on the disk where torch brings CUDA's libraries (Linux), 2 GB elsewhere; minutes"
@test "$$(uname -s)" != Linux -o -e /proc/driver/nvidia || \
  echo "no NVIDIA driver is here: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo installs torch without CUDA, in 2 GB"
endef

# The stamps record what was installed for which pyproject.toml.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(announce)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(announce)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/mri-alps demo

# One thread per worker: the workers share the cores, and small operations gain nothing from more.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 10

test-fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info demo_output
