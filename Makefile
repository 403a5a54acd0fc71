# Runs .ci/run: tests, examples, formatting, clippy, dependencies and docs.
check:
	bash .ci/run

.PHONY: check
