# Daily commands; each line can be typed as it stands.

# set up the virtual environment
setup:
    python3 -m venv .venv && .venv/bin/pip install -q --require-hashes -r requirements-dev.txt && .venv/bin/pip install -q --no-deps --no-build-isolation -e .

# run the tests, e.g. `just test tests/streams/test_sse.py`
test *ARGS:
    .venv/bin/pytest {{ARGS}}

# every test that starts no process
test-fast *ARGS:
    .venv/bin/pytest -q --fast -n auto --dist loadfile {{ARGS}}

# the tests that start no process, in another order each time
test-shuffled *ARGS:
    .venv/bin/pytest -q --fast -p randomly -n auto --dist loadfile {{ARGS}}

# lint, types and the tests that start no process: what to run while working
quick *ARGS:
    .ci/lint && .venv/bin/pytest -q --fast -n auto --dist loadfile {{ARGS}}

# lint and types
lint:
    .ci/lint

# mixed clients, faulty providers, a thousand paced streams, signals, and kills at every step, e.g. `just soak --seconds 600`
soak *ARGS:
    .venv/bin/python tests/soak.py --seconds 60 --streams 200 --concurrent 1000 --kills 10 {{ARGS}}
    .venv/bin/pytest -q --soak -n auto tests/e2e tests/gateway/exchange

# attacks on a real gateway, beside a stream whose lateness is measured, e.g. `just attacks --only unfolding`
attacks *ARGS:
    .venv/bin/python tests/attacks.py {{ARGS}}

# 500 MB up and down, and the memory that the gateway takes for them, e.g. `just media --megabytes 2000`
media *ARGS:
    .venv/bin/python -m tests.media_memory {{ARGS}}

# what it costs that turns are kept, for each store and several lengths of a conversation, e.g. `just state --turns 200`
state *ARGS:
    .venv/bin/python -m tests.state_bench {{ARGS}}

# an hour of provider trouble on a simulated clock: no retries, retries alone, a route, e.g. `just outage --rate 20`
outage *ARGS:
    .venv/bin/python -m tests.outage --svg docs/outage.svg --away docs/away.svg {{ARGS}}

# what a request costs Redis and PostgreSQL, and how many requests a second each carries, e.g. `just shared --requests 500`
shared *ARGS:
    .venv/bin/python -m tests.shared_parts {{ARGS}}

# real programs through the gateway to each upstream API, e.g. `just clients claude codex`
clients *ARGS:
    .venv/bin/python tests/clients/run.py {{ARGS}}

# SDKs at the endpoints that are no conversation, before stand-ins of several shapes
endpoint-clients:
    .venv/bin/python tests/clients/endpoints.py

# every tier of Claude Code and Codex, by variables, by connect and by what it writes
tiers:
    .venv/bin/python tests/clients/tiers.py

# every two features together, in several covering arrays, e.g. `just combinations 20`
combinations ARRAYS="8":
    COMBINATIONS={{ARRAYS}} .venv/bin/pytest -q tests/gateway/exchange/test_combinations.py

# what a request and a stream cost, e.g. `just bench --growth --html growth.html`, `just bench --crowd`, `just bench --workers`
bench *ARGS:
    .venv/bin/python bench/run.py {{ARGS}}

# what this tree costs beside another revision, e.g. `just bench-before v0.2.0 --cases burst,start`
bench-before REVISION *ARGS:
    .venv/bin/python bench/before.py {{REVISION}} {{ARGS}}

# everything that has to be green
ci:
    .ci/run

# the gateway with its stand-in provider
demo:
    .venv/bin/trigate serve --demo

# the parts of a dependency that are used beneath its surface, in another version, e.g. `just foreign hypercorn==0.18.0`
foreign *REQUIREMENTS:
    uv pip install -q --no-deps --target .foreign {{REQUIREMENTS}}
    PYTHONPATH=.foreign .venv/bin/pytest -q tests/test_fingerprints.py

# lock the dependencies again, with hashes and without naming a package host
lock:
    uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.txt
    uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras -c requirements.txt pyproject.toml -o requirements-extras.txt
    uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements-dev.txt
    uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build -o requirements-build.txt
    for name in python aider; do uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate tests/clients/$name.in -o tests/clients/$name.txt; done
