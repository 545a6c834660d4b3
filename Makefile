# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test test-oldest bench format slow faults fuzz clean

demo: .venv/installed
	$(BIN)/ganatomy train basic-gan --dataset mnist10k --epochs 16 --log_every 10 --out $(DEMO)/basic-gan
	$(BIN)/ganatomy train conv-gan --dataset mnist10k --epochs 10 --log_every 10 --out $(DEMO)/conv-gan
	$(BIN)/ganatomy train mnist-fast --dataset mnist10k --steps 1800 --log_every 10 --out $(DEMO)/mnist-fast
	$(BIN)/ganatomy evaluate $(DEMO)/basic-gan
	$(BIN)/ganatomy evaluate $(DEMO)/conv-gan
	$(BIN)/ganatomy evaluate $(DEMO)/mnist-fast
	$(BIN)/ganatomy compare $(DEMO)/basic-gan $(DEMO)/conv-gan $(DEMO)/mnist-fast --out $(DEMO)/compare.html

# a process for each core, of one thread: networks of the tests are too small for more
test: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not slow and not gpu"

slow: .venv/installed-dev
	$(BIN)/pytest -m slow

# training, measuring and exporting with the oldest version of each dependency that is allowed
test-oldest: .venv-oldest/installed
	OMP_NUM_THREADS=1 .venv-oldest/bin/pytest -n auto -m "not slow and not gpu" \
	$(addprefix tests/test_,$(addsuffix .py,step updates losses captured parallel metrics evaluate export cli))

# over 200 kills, full disks, damaged files and the like; some ten minutes on an otherwise idle machine
faults: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/faults.py

# 120,000 hostile files and command lines; guided by coverage where atheris can be installed
fuzz: .venv/installed-dev
	-$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py

# some 15 minutes on an otherwise idle machine; GANATOMY_DATA is where all of MNIST is, if anywhere
bench: .venv/installed
	(echo "# Results"; echo; echo "What \`make bench\` printed, and where."; \
	for name in training start evaluate frechet memory; do \
	echo; $(BIN)/python benchmarks/$$name.py || exit; done) > benchmarks/RESULTS.new
	mv benchmarks/RESULTS.new benchmarks/RESULTS.md

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-oldest runs/demo

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganatomy needs Python 3.11 or newer")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv-oldest/installed: pyproject.toml scripts/oldest.py
	test -d .venv-oldest || $(PYTHON) -m venv .venv-oldest
	$(PYTHON) scripts/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --constraint .venv-oldest/constraints.txt \
	--editable '.[export,formats]' pytest pytest-xdist hypothesis scikit-learn torchmetrics
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
