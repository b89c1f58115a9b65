# Everything a newcomer types. Needs Python 3.10, 3.11 or 3.12 and make; the rest goes into .venv.
#
#   make PYTHON=/path/to/python3.11    use this interpreter
#   make quickstart ARGS="--seed 2"    pass options on
#   make test ARGS="-k boxes"

VENV   ?= .venv
PYTHON ?=
ARGS   ?=
# Parallel test processes, each with one thread.
JOBS   ?= 2

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install quickstart test check format docs clean distclean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

install: $(STAMP) ## Make .venv and install the package into it

quickstart: $(STAMP) ## Train, test and draw a small Mask R-CNN on a toy set (minutes, CPU is enough)
	$(PY) -m maskrcnn_benchmark quickstart $(ARGS)

test: $(STAMP) ## Run the tests
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(STAMP) ## Lint, format, import direction, types: what CI runs
	@failed=0; run() { echo "$$*"; "$$@" || failed=1; }; \
	run $(PY) -m ruff check .; \
	run $(PY) -m ruff format --check .; \
	run $(PY) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo --no-cache; \
	run $(PY) -m mypy; \
	exit $$failed

format: $(STAMP) ## Put the code into the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(STAMP) ## Write the reference pages of docs/ anew
	$(PY) -m maskrcnn_benchmark.cli.reference

clean: ## Remove caches and build output
	rm -rf build/lib build/bdist.* dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find maskrcnn_benchmark tests tools -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV)

# An interpreter qualifies if it runs, has a version we test, and can make a virtual environment.
# One that is named in PYTHON may also be newer.
define FIND_PYTHON
found=; \
if [ -n "$(PYTHON)" ]; then names="$(PYTHON)"; top=99; else names="python3.12 python3.11 python3.10 python3 python"; top=12; fi; \
for name in $$names; do \
  if "$$name" -c "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $$top))" \
    >/dev/null 2>&1; then found=$$name; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "error: no usable Python among: $$names" >&2; \
  echo "  needed: Python 3.10, 3.11 or 3.12 with its modules venv and ensurepip (Debian, Ubuntu: apt install python3-venv)" >&2; \
  echo "  name one that qualifies: make PYTHON=/path/to/python3.11" >&2; \
  exit 1; \
fi
endef

$(STAMP): pyproject.toml constraints.txt
	@if ! "$(PY)" -m pip --version >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "Making $(VENV) with $$found ($$("$$found" --version))"; \
	  "$$found" -m venv --clear "$(VENV)" || exit 1; \
	fi
	@echo "Installing (the first time this downloads PyTorch)"
	@"$(PY)" -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' || { \
	  echo "error: the installation failed; see pip's message above, mend it and run make again" >&2; exit 1; }
	@touch "$@"
