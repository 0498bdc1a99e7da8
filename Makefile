# RateLimiter: 'make run' serves, 'make test' tests, 'make help' lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

TOOLS := $(CURDIR)/.tools
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

# All packages except those in folders that begin with a dot.
PACKAGES := ./...

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
STAMP = -X ratelimiter/internal/cli.version=$(VERSION) -X ratelimiter/internal/cli.commit=$(COMMIT)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/ratelimiter, without debug information
	go build -trimpath -tags nomsgpack -ldflags '-s -w $(STAMP)' -o bin/ratelimiter .

.PHONY: run
run: build ## serve in dev mode; starts a private Postgres when DATABASE_URL is not set
	exec bin/ratelimiter serve --dev

.PHONY: test
test: vet lint generate-check lint-spec go-test ## everything: vet, linters, generated files, all tests with the race detector

.PHONY: vet
vet:
	go vet $(PACKAGES)
	cd bench && go vet ./...
	go mod tidy -diff

.PHONY: lint
lint: $(GOLANGCI) ## gofmt, the linter, plain English
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run 'make format'):"; echo "$$unformatted"; exit 1; fi
	$(GOLANGCI) run $(PACKAGES)
	go run ./scripts/plainenglish

$(GOLANGCI):
	GOBIN=$(TOOLS)/install go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/install/golangci-lint $@

.PHONY: format
format: ## gofmt everything
	gofmt -w $$(git ls-files '*.go')

.PHONY: generate
generate: ## generate the OpenAPI description, the Go client from it, and the pictures of the documentation
	go run ./scripts/openapi
	go run ./scripts/goclient
	go run ./scripts/pictures

.PHONY: generate-check
generate-check: ## fail if a generated file is out of date
	go run ./scripts/openapi -check
	go run ./scripts/goclient -check
	go run ./scripts/pictures -check

.PHONY: lint-spec
lint-spec: ## Spectral and Redocly over the OpenAPI description
	scripts/lint-spec.sh

.PHONY: go-test
go-test: ## all tests, on one temporary Postgres
	scripts/install-chromium.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The browser tests are skipped."; }
	scripts/install-pgbouncer.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with PgBouncer are skipped."; }
	scripts/install-redis.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with Redis or Valkey are skipped."; }
	scripts/install-kafka.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with Kafka are skipped."; }
	scripts/install-rabbitmq.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with RabbitMQ are skipped."; }
	scripts/install-elasticmq.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with SQS are skipped."; }
	scripts/install-prometheus.sh || { [ "$${REQUIRE_REAL_SERVICES:-}" != 1 ] && echo "The tests with Prometheus are skipped."; }
	go run ./internal/testkit/cluster -- go test -race -timeout 20m $(PACKAGES)
	cd bench && go test ./...
	go test -run llocations ./internal/server ./middleware
	go test -run '(Service|Store)_simulation$$' ./internal/allowance ./ratelimit/fallback -seeds 2000

.PHONY: vulncheck
vulncheck: ## fail if a module with a known vulnerability is called
	scripts/vulncheck.sh

.PHONY: api-fuzz
api-fuzz: ## test a server with REQUESTS=n inputs generated from the API description
	scripts/schemathesis/run.sh

.PHONY: bench-cache
bench-cache: ## compare the cache strategies; measure recording of usage
	go test -run NONE -bench Strategies -benchtime 100000x ./internal/cache
	go test -run NONE -bench 'Record|ServeHTTP' -count 5 ./internal/usage
	go run ./internal/testkit/cluster -- go test -run NONE -bench 'Flush|Simulate' ./internal/usage

.PHONY: bench
bench: ## compare the engine with its peers, in one process: ratios
	cd bench && go run .

ROUNDS ?= 4
.PHONY: bench-http
bench-http: build ## compare the server over HTTP with bare Gin, Gin + ulule/limiter, nginx and FastAPI + slowapi: 6 to 20 minutes
	scripts/install-bench-peers.sh
	cd bench && go run . -http -rounds $(ROUNDS)

.PHONY: bench-redis
bench-redis: ## compare limiters on one Redis with an auto-pipelined INCR: ratios
	scripts/install-redis.sh
	cd bench && go run . -redis

.PHONY: bench-engine
bench-engine: ## one decision and its parts, 1 and 2 cores, a million subjects
	go test ./ratelimit -run '^$$' -bench Decision -count 3
	go test ./ratelimit -run '^$$' -bench DecisionParallel -cpu 1,2 -count 3
	go test ./ratelimit/memory -run '^$$' -bench Million -benchtime 1x

.PHONY: bench-queue
bench-queue: ## compare the queue with River by itself: rates, latency, one owner's flood, a million delayed, a held transaction; and the message brokers: about 20 minutes
	scripts/install-rabbitmq.sh
	scripts/install-kafka.sh
	scripts/install-elasticmq.sh
	go test ./internal/queue -run '^$$' -bench . -benchtime 1x -timeout 30m -v
	go test ./e2e -run '^$$' -bench Transports -benchtime 1x -timeout 30m

.PHONY: bench-orders
bench-orders: ## compare orders, with messages and an event, to the release without them: accepted per second, a ratio; measure a sweep
	go test ./internal/orders -run '^$$' -bench Accept -benchtime 1x -timeout 15m
	go run ./internal/testkit/cluster -- go test ./internal/orders -run '^$$' -bench Sweep -benchtime 3x

.PHONY: bench-orders-flow
bench-orders-flow: ## measure orders from acceptance to confirmation, and reads of products while orders are worked off: about 5 minutes
	go test ./e2e/orderproof -run '^$$' -bench . -benchtime 1x -timeout 30m -v

.PHONY: bench-live
bench-live: ## compare polling, long polling, SSE and WebSocket with 100, 1,000 and 5,000 watchers, and draw it: about 10 minutes
	go run ./internal/testkit/cluster -- go test ./e2e/liveproof -run '^$$' -bench Ways -benchtime 1x -live-picture $(CURDIR)/docs/concepts/pictures/live.svg -timeout 30m -v

.PHONY: bench-cpu
bench-cpu: ## measure a cheap handler's p99 during too many invoices, with and without the CPU pool: a ratio
	go run ./internal/testkit/cluster -- go test -run '^$$' -bench LatencyUnderInvoiceLoad -benchtime 1x -timeout 5m ./e2e

.PHONY: proof-allowances
proof-allowances: ## kill instances 200 times and Postgres 20 times under load; simulate 100,000 seeds: about an hour
	go test ./internal/allowance -run 'Service_killed' -crash-rounds 50 -crash-restarts 5 -timeout 60m -v
	go test ./internal/allowance -run 'Service_simulation$$' -seeds 100000 -timeout 180m

.PHONY: proof-queue
proof-queue: ## kill publishers, workers and Postgres 50 times each under 20,000 messages; a message that kills its process: about a quarter of an hour
	go test ./internal/queue -run '^TestProof' -proof-messages 20000 -proof-kills 50 -proof-poison 8 -timeout 60m -v

.PHONY: proof-brokers
proof-brokers: ## proof-queue on RabbitMQ, Kafka and SQS, killing the broker too: about an hour
	go test ./internal/queue/rabbitmq ./internal/queue/kafka ./internal/queue/sqs -run 'Proof|Transport$$/suite' -proof-messages 20000 -proof-kills 50 -timeout 120m -v

.PHONY: proof-orders
proof-orders: ## kill both servers, the payment gateway and Postgres 30 times each under 5,000 orders; race 1,000 cancellations: about a quarter of an hour
	go test ./e2e/orderproof -run '^TestProof$$' -proof-orders 5000 -proof-kills 30 -proof-cancels 1000 -timeout 90m -v

.PHONY: proof-live
proof-live: ## terminate listening connections 100 times and kill servers 30 times under 200 clients that follow orders: some minutes
	go run ./internal/testkit/cluster -- go test ./e2e/liveproof -run '^TestProof' -live-terminations 100 -live-kills 30 -live-stalled 1000 -timeout 30m -v

.PHONY: proof-fallback
proof-fallback: ## simulate 20,000 seeds of instances that lose their shared store: about 10 minutes
	go test ./ratelimit/fallback -run 'Store_simulation$$' -seeds 20000 -timeout 90m

.PHONY: proof-cluster
proof-cluster: ## 5 instances on one Redis; it, or Postgres, fails for 60 s in each way: admitted units, response times, commands: about a quarter of an hour
	go run ./internal/testkit/cluster -- go test ./e2e -run 'TestCluster_proof' -cluster-outage 60s -timeout 60m -v

.PHONY: clean
clean: ## remove what was built, but not .data
	rm -rf bin
