# The quick start: `make tune` and `make test` install what is missing, configure, build, and then tune or test.
#   BUILD=folder              where to build
#   CMAKE_FLAGS="-DAPQ_...=ON"  see docs/environment.md
#   ARGS="--bits W2A8"        passed to apq-tune
#   TESTS="-R test_host"      passed to ctest
BUILD ?= build
JOBS  ?= $(shell nproc)

# Tests that need a GPU run where a driver shows one; checks of the sources run in .ci/run.
SKIP := lint$(if $(wildcard /dev/nvidiactl /dev/dxg),,|gpu)

.PHONY: build tune test clean

build:
	@sh .ci/setup
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS)
	@cmake --build $(BUILD) --parallel $(JOBS)

tune: build
	@$(BUILD)/apq-tune $(ARGS)

test: build
	@.ci/test $(BUILD) --label-exclude '$(SKIP)' $(TESTS)

clean:
	rm -rf $(BUILD)
