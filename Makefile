# build   bin/crossfade, and the programs it runs beside itself
# demo    all set-up, then the main job on real clusters, with a report
# test    all set-up, then every test
# bench   the numbers to hold, side by side; BENCH=name picks one, OBJECTS=n is the size of the clusters that are copied
# soak    100 deployments in a row and 30 kills of deployments, under load, and roll-overs for resolvers that keep answers for minutes; an hour
# lint    format, vet, staticcheck
.PHONY: build bundles setup demo test bench soak lint clean
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/crossfade-dev/crossfade/internal/cli.Version=$(VERSION)
LINT := go tool -modfile=internal/tools/lint/go.mod
BENCH ?= all
OBJECTS ?= 10000

build: bundles
	@echo "building bin/crossfade (a minute the first time)"
	@go build -ldflags '$(LDFLAGS)' -o bin/crossfade ./cmd/crossfade
	@CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/shop ./demo/shop

# Kubernetes, the engine and the edge: built once, then found in the cache outside the checkout.
bundles:
	@go run ./internal/tools/bundle lab engine edge

setup:
	@hack/setup

demo: setup build
	@bin/crossfade demo --report report.json

test: setup build
	@hack/setup tests
	@go run ./internal/tools/bundle traefik externaldns
	@hack/test

bench: setup build
	@go run ./internal/tools/bench -only '$(BENCH)' -objects $(OBJECTS) -out bench.json

soak: setup build
	@CROSSFADE_SOAK_DEPLOYS=100 CROSSFADE_SOAK_KILLS=30 CROSSFADE_SOAK_DNS=yes go test -v -count=1 -timeout 2h -run 'TestManyDeploys|TestDeploysKilled|TestDNS' ./test

lint:
	@test -z "$$($(LINT) gofumpt -l . | tee /dev/stderr)"
	@go vet ./...
	@$(LINT) staticcheck ./...

clean:
	@rm -rf bin report.json bench.json
