# Everything here works on a fresh machine with python3 (3.11 or newer), pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS := bundled,cpu,llm,parquet,ray,sentencepiece,dev
TAGALONG_DATA ?= ../shared/data
CODE := ner backend training cli

# Named after the checksum of the requirements, so that only their change installs again, on any branch.
INSTALLED := $(VENV)/installed-$(shell cat pyproject.toml constraints.txt tests/label_studio_ml.txt | cksum | cut -d ' ' -f 1)

# Children of the tests import what is compiled already.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install lint format types test pytest quick endtoend demo bench bundled constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | while IFS=: read -r name what; do \
	  printf '  make %-12s%s\n' "$$name" "$$what"; done

install: $(INSTALLED)  ## create .venv and install everything into it

# On Linux the package index has torch with CUDA, several GB. Without a GPU, install the CPU build of
# the same release into .venv first; it is kept.
$(INSTALLED): | $(BIN)/python
	$(PIP) install -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	$(PIP) install --no-deps --upgrade --target $(VENV)/label-studio-ml -r tests/label_studio_ml.txt
	@rm -f $(VENV)/installed-*
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

lint: install  ## check style and docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/docstrings.py $(CODE)

format: install  ## correct what tools can correct
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install  ## check types
	$(BIN)/mypy

test: install  ## run lint, types and all tests; installs a Label Studio for some of them
	$(MAKE) -j 3 lint types pytest

# Three workers for two cores: some tests wait for other processes.
pytest: install
	$(BIN)/pytest -n 3 $(TESTS)

quick: install  ## run the same without slow tests and without a Label Studio
	$(MAKE) -j 3 lint types pytest TESTS='-m "not slow" --ignore=tests/end_to_end'

endtoend: install  ## run only the tests against a real Label Studio, also in Chromium
	$(BIN)/pytest -n 2 tests/end_to_end

demo: install  ## start a Label Studio with pre-annotated abstracts; Ctrl-C stops it
	$(BIN)/tagalong demo

bench: install  ## run the benchmarks and renew their output in docs; ONLY=bench_server for one of them
	PYTHONPATH=. TAGALONG_DATA=$(TAGALONG_DATA) $(BIN)/python tests/bench/rewrite.py --only "$(ONLY)"

bundled: install  ## train the bundled version again with its recipe, on BC5CDR in TAGALONG_DATA
	$(BIN)/tagalong train encoder $(TAGALONG_DATA)/BC5CDR/train.jsonl \
	  $(TAGALONG_DATA)/BC5CDR/dev.jsonl --dev-share 0.05 --recipe-from bundled \
	  --name minilm-bc5cdr --models backend/bundled

constraints:  ## renew constraints.txt from a fresh environment
	rm -rf build/renewed
	$(PYTHON) -m venv build/renewed
	build/renewed/bin/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	build/renewed/bin/python -m pip install --quiet -e '.[$(EXTRAS)]'
	{ sed '/^[^#]/d' constraints.txt; \
	  build/renewed/bin/python -m pip freeze --all --exclude-editable --exclude pip \
	  | sed 's/+cpu$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:  ## remove .venv and all build output
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
