# Every target makes its own environment first: `make test` on a bare machine needs python3 (3.11 or later),
# make and a C compiler. `make demo` installs the package, the other targets the tools of the tests too.
# What pip installs can be steered from outside:
#   PYTHON=python3.12        the interpreter to make .venv with
#   TORCH=torch==2.13.0+cpu  the torch to install first on a machine without GPU (a requirement or a wheel)
#   EXTRA=cpu|gpu            instead of asking nvidia-smi
#   PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS   where pip finds PyTorch's CPU builds; else uv fetches them
#   LIMIT=10                 documents a task in `make demo`
PYTHON ?= python3
export TORCH EXTRA
# pip compiles nothing here (tools/environment.py), so that each process would compile PyTorch and vLLM anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
READY_DEV := .venv/.ready-dev

.DEFAULT_GOAL := help
# `tests` is a folder too.
.PHONY: help venv demo test tests test-long lint format bench bench-gpu clean

help:
	@echo "make demo    run the main job on two embedded checkpoints and write a report"
	@echo "make test    lint, types, tests"
	@echo "make test-long  the tests that take minutes each"
	@echo "make lint    lint and types only"
	@echo "make format  let ruff rewrite what it can"
	@echo "make bench   documents, samples, serving, growth, many engines and Transformers, each against what it replaces"
	@echo "make bench-gpu  all GPU figures; goes on where it was cut off"
	@echo "make venv    only the environment"
	@echo "make clean   remove the environment and what was built"

# The stamp is younger than its prerequisites when the environment is ready: then nothing is started at all.
INPUTS := setup.cfg pyproject.toml tools/environment.py tools/build_commands.py
$(READY): $(INPUTS)
	@$(PYTHON) tools/environment.py
$(READY_DEV): $(INPUTS)
	@$(PYTHON) tools/environment.py dev

venv: $(READY)

demo: $(READY)
	@$(BIN)/iha-eval demo $(if $(LIMIT),--limit $(LIMIT))

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lint runs beside the tests, whose quick files come first (tests/conftest.py).
test: $(READY_DEV)
	@$(MAKE) --no-print-directory --keep-going --jobs=2 lint tests

# Two processes with a thread each: engines of vLLM that share cores wait for one another.
tests: $(READY_DEV)
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What `make test` skips, to keep it short: a second form of what it tests, and a real model.
test-long: lint
	IHA_EVAL_LONG=1 OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind $(BIN)/python -m pytest -m long

format: $(READY_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY_DEV)
	$(BIN)/python benchmarks/ruler_documents.py
	$(BIN)/python benchmarks/samples.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/end_to_end.py --cases ruler_mk_16k
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/dealing.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/evidence_step.py
	$(BIN)/python benchmarks/against_transformers.py --hidden 256 --layers 5 --documents 6 6 --new-tokens 64 64

# ONLY=cell chooses one; benchmarks/gpu.py --list names them.
bench-gpu: $(READY_DEV)
	$(BIN)/python benchmarks/gpu.py $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf .venv .venv.lock build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
