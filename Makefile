# Two commands: `make demo` and `make test`. Each makes .venv and installs from the lock file by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_DIR ?= factory-ear-demo

.PHONY: demo test lint format bench kafka kafka-stop kafka-clean lock system-packages clean

demo: $(INSTALLED)
	$(BIN)/factory-ear demo --dir $(DEMO_DIR) $(if $(SERVE),--serve)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks

# A real Apache Kafka on 127.0.0.1:9092 from Maven Central (KAFKA_PORT, KAFKA_DATA: see deploy/kafka/kafka.sh).
kafka:
	@deploy/kafka/kafka.sh start

kafka-stop:
	@deploy/kafka/kafka.sh stop

# Forget everything that it stored.
kafka-clean:
	@deploy/kafka/kafka.sh clean

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# After a change of dependencies in pyproject.toml; needs `pip install uv`.
lock:
	uv pip compile pyproject.toml --all-extras --generate-hashes --python-version 3.11 \
		--no-header --no-annotate --no-emit-find-links -o requirements.lock

# Optional helpers of tests, from Debian: ffmpeg (streams), chromium (pages), Prometheus and Alertmanager (alerts).
# Without them their tests skip. Debian would start the last two as services: they are switched off.
HELPERS := ffmpeg chromium prometheus prometheus-alertmanager
system-packages:
	@command -v $(HELPERS) >/dev/null && [ "$$(command -v $(HELPERS) | wc -l)" = "$(words $(HELPERS))" ] || { \
		command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends $(HELPERS) >/dev/null \
		&& { command -v systemctl >/dev/null && systemctl disable --now $(wordlist 3,4,$(HELPERS)) >/dev/null 2>&1 || true; }; } \
		|| echo "one of $(HELPERS) is absent and cannot be installed here: its tests skip"

clean:
	rm -rf $(VENV) $(DEMO_DIR) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
