# Daily commands. You can also type each line without just.

# set up the virtual environment
setup:
    python3 -m venv .venv && .venv/bin/pip install -q --require-hashes -r requirements-dev.txt && .venv/bin/pip install -q --no-deps --no-build-isolation -e .

# run the tests, e.g. `just test tests/streams/test_sse.py`
test *ARGS:
    .venv/bin/pytest {{ARGS}}

# run every test that starts no process
test-fast *ARGS:
    .venv/bin/pytest -q --fast -n auto --dist loadfile {{ARGS}}

# run the tests that start no process, in a random order
test-shuffled *ARGS:
    .venv/bin/pytest -q --fast -p randomly -n auto --dist loadfile {{ARGS}}

# run lint, types and the tests that start no process, while you work
quick *ARGS:
    .ci/lint && .venv/bin/pytest -q --fast -n auto --dist loadfile {{ARGS}}

# run lint and types
lint:
    .ci/lint

# run mixed clients, faulty providers, a thousand paced streams, signals and kills for a long time, e.g. `just soak --seconds 600`
soak *ARGS:
    .venv/bin/python tests/soak.py --seconds 60 --streams 200 --concurrent 1000 --kills 10 {{ARGS}}
    .venv/bin/pytest -q --soak -n auto tests/docs tests/e2e tests/gateway tests/loadtest tests/providers tests/streams tests/test_bench.py

# test real programs with providers of each API, e.g. `just clients claude codex`
clients *ARGS:
    .venv/bin/python tests/clients/run.py {{ARGS}}

# test SDKs at embeddings, images and other endpoints, with stand-ins of several providers
endpoint-clients:
    .venv/bin/python tests/clients/endpoints.py

# test Claude Code and Codex with the web search of the gateway
search-clients:
    .venv/bin/python tests/clients/searches.py

# test every pair of features together, in several covering arrays, e.g. `just combinations 20`
combinations ARRAYS="8":
    COMBINATIONS={{ARRAYS}} .venv/bin/pytest -q tests/gateway/exchange/test_combinations.py

# measure the cost of requests and streams, e.g. `just bench --growth`, `just bench --crowd`
bench *ARGS:
    .venv/bin/python bench/run.py {{ARGS}}

# measure the CPU time that explaining misses of prompt caches adds to a request, e.g. `just bench-prompt-caches --sizes 400`
bench-prompt-caches *ARGS:
    .venv/bin/python bench/prompt_caches.py {{ARGS}}

# measure the CPU time that built-in steps add to a request, to an event (`just bench-steps --events`), or that hostile texts take (`--texts`)
bench-steps *ARGS:
    .venv/bin/python bench/steps.py {{ARGS}}

# measure starts, reloads and requests with many keys, models and rows of the ledger, e.g. `just bench-sizes --keys 1000`
bench-sizes *ARGS:
    .venv/bin/python bench/sizes.py {{ARGS}}

# compare the cost of this tree with another revision, e.g. `just bench-before v0.2.0 --cases burst,start`
bench-before REVISION *ARGS:
    .venv/bin/python bench/before.py {{REVISION}} {{ARGS}}

# run the gate
ci:
    .ci/run

# start the gateway with its stand-in provider
demo:
    .venv/bin/trigate serve --demo

# check the private parts that we use of another version of a dependency, e.g. `just foreign hypercorn==0.18.0`
foreign *REQUIREMENTS:
    uv pip install -q --no-deps --target .foreign {{REQUIREMENTS}}
    PYTHONPATH=.foreign .venv/bin/pytest -q tests/test_fingerprints.py

# lock the dependencies again, with hashes and without a package host
lock:
    uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.txt
    uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras -c requirements.txt pyproject.toml -o requirements-extras.txt
    uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements-dev.txt
    uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build -o requirements-build.txt
    uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group release -o requirements-release.txt
    python3 .ci/pin_bare.py requirements*.txt
    for name in python aider rag; do uv pip compile -q --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-annotate tests/clients/$name.in -o tests/clients/$name.txt; done
