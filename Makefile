# Everything here works on a fresh machine that has python3 (3.11 or newer), pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS := bundled,cpu,llm,ray,sentencepiece,dev
TAGALONG_DATA ?= ../shared/data
CODE := ner backend training cli

# Named after what was asked for, so that only a change of it installs again, on any branch.
INSTALLED := $(VENV)/installed-$(shell cat pyproject.toml constraints.txt tests/label_studio_ml.txt | cksum | cut -d ' ' -f 1)

.PHONY: help install lint format types test quick endtoend demo bench bundled constraints clean

help:  ## show what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | while IFS=: read -r name what; do \
	  printf '  make %-12s%s\n' "$$name" "$$what"; done

install: $(INSTALLED)  ## make .venv and install everything into it

# On Linux the package index gives torch with CUDA, several GB of it. Where there is no GPU, put the
# CPU build of the same release into .venv first, and this leaves it as it is.
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
	$(BIN)/pydoclint --quiet $(CODE)

format: install  ## mend what can be mended by a tool
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install  ## check types
	$(BIN)/mypy

test: lint types  ## lint, types and all tests; installs a Label Studio for those against a real one
	$(BIN)/pytest -n 2

quick: lint types  ## the same without the tests against a real Label Studio
	$(BIN)/pytest -n 2 --ignore=tests/end_to_end

endtoend: install  ## only the tests against a real Label Studio, in Chromium too
	$(BIN)/pytest -n 2 tests/end_to_end

demo: install  ## show a Label Studio with our pre-annotations in it; Ctrl-C ends it
	$(BIN)/tagalong demo

bench: install  ## run the benchmarks, renew docs/benchmarks.md and experiments.md; ONLY=bench_server for one of them
	PYTHONPATH=. TAGALONG_DATA=$(TAGALONG_DATA) $(BIN)/python tests/bench/rewrite.py --only "$(ONLY)"

bundled: install  ## train the bundled version again, by its own recipe, from BC5CDR in TAGALONG_DATA
	$(BIN)/tagalong train encoder $(TAGALONG_DATA)/BC5CDR/train.jsonl \
	  $(TAGALONG_DATA)/BC5CDR/dev.jsonl --dev-share 0.05 --recipe-from bundled \
	  --name minilm-bc5cdr --models backend/bundled

constraints:  ## renew constraints.txt from an environment made without it
	rm -rf build/renewed
	$(PYTHON) -m venv build/renewed
	build/renewed/bin/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	build/renewed/bin/python -m pip install --quiet -e '.[$(EXTRAS)]'
	{ sed '/^[^#]/d' constraints.txt; \
	  build/renewed/bin/python -m pip freeze --all --exclude-editable --exclude pip \
	  | sed 's/+cpu$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
