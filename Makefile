# What .ci/run does: tests, examples, formatting, clippy, dependencies, docs.
check:
	bash .ci/run

.PHONY: check
