# What .ci/run does: tests, examples, formatting, clippy, docs.
check:
	bash .ci/run

.PHONY: check
