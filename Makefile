# Weft. `make run` starts a server, `make test` runs everything in short form.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

GO      ?= go
PREFIX  ?= /usr/local
TOOLS   := $(CURDIR)/.tools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Seconds for each fuzz target; soak takes minutes.
FUZZTIME     ?= 5s
SOAKFUZZTIME ?= 10m
SOAKCOUNT    ?= 20
# How long frames are counted between lossy network namespaces.
LOSSTIME     ?= 60s
SOAKLOSSTIME ?= 10m
# playwright-core drives the Chromium of the distribution.
PLAYWRIGHT ?= 1.65.1
# puppeteer-core drives its Firefox.
PUPPETEER  ?= 24.43.1
# The server that the Socket.IO driver is tested against.
SOCKETIO   ?= 4.8.4
# OBS' WebRTC library.
DATACHANNEL ?= 0.33.4

# The packages whose tests need a program from outside, run when asked for.
BROKERS = $$(grep -rl --include='*_test.go' --exclude-dir='.?*' '^//go:build brokers' . | xargs -n 1 dirname | sort -u)

.PHONY: run build install test soak clean \
        need-go need-cc need-node need-netns tools unit race brokers fuzz page browser netns static

## run: start weft serve on its defaults and print the page's URL
run: build
	@exec bin/weft serve

## build: the command, as bin/weft
build: need-go
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/weft ./cmd/node

## install: copy it to $(PREFIX)/bin/weft
install: build
	install -D -m 0755 bin/weft $(DESTDIR)$(PREFIX)/bin/weft

## test: everything, short
test: need-go need-node tools static unit race brokers fuzz page browser netns
	@echo "make test: all green"

## soak: the long forms: repeated races, a room of fifty for hours, long fuzzing, the brokers', the browser's and the networks' tests again and again
soak: need-go need-cc need-node tools need-netns
	CGO_ENABLED=1 $(GO) test -race -count=$(SOAKCOUNT) -timeout 120m ./...
	CGO_ENABLED=1 $(GO) test -race -tags brokers -count=$(SOAKCOUNT) -timeout 120m $(BROKERS)
	WEFT_TEST_ROOM=4h $(GO) test -run '^TestLongRoom$$' -count=1 -timeout 120m -v ./node
	@.ci/fuzz $(SOAKFUZZTIME)
	$(GO) test -tags browser -count=$(SOAKCOUNT) -timeout 120m ./mesh/conn ./cmd/node
	$(GO) test -tags netns -count=$(SOAKCOUNT) -timeout 300m -v -run '^TestNetns' ./cmd/node -netns.for=$(SOAKLOSSTIME)

# Formatting, vet, the static build, and the directions of imports.
static: need-go
	@echo "== static checks"
	@bad=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); \
	if [ -n "$$bad" ]; then echo "not gofmt-ed:"; echo "$$bad"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) vet -tags browser,brokers,netns ./...
	@CGO_ENABLED=0 $(GO) build -o /dev/null ./...
	@$(GO) test -run '^TestImports' ./node/serve

unit: need-go
	@echo "== unit tests"
	@$(GO) test ./...

race: need-go need-cc
	@echo "== unit tests under the race detector"
	@GO=$(GO) .ci/race

brokers: need-go need-node tools
	@echo "== tests against real brokers: socket.io, mosquitto, coturn"
	@$(GO) test -tags brokers -count=1 -timeout 10m $(BROKERS)

fuzz: need-go
	@echo "== fuzz, $(FUZZTIME) each"
	@.ci/fuzz $(FUZZTIME)

page: need-node
	@echo "== the page's own tests"
	@node --test $$(find node/serve/web/test -name '*.test.*js')

browser: need-go need-node tools
	@echo "== browser, end to end"
	@$(GO) test -tags browser -count=1 -timeout 10m -v -run '^TestBrowser' ./mesh/conn
	@$(GO) test -tags browser -count=1 -timeout 20m -v -run '^TestBrowser' ./cmd/node

netns: need-go need-node tools need-netns
	@echo "== loss between network namespaces, $(LOSSTIME)"
	@$(GO) test -tags netns -count=1 -timeout 10m -v -run '^TestNetnsLoss' ./cmd/node -netns.for=$(LOSSTIME)

clean:
	rm -rf bin dist

# What is needed, with a plain word on what is missing.

need-go:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or newer, https://go.dev/dl/" >&2; exit 1; }

need-cc:
	@command -v $$($(GO) env CC | cut -d' ' -f1) >/dev/null || { \
	  echo "A C compiler is missing, which Go's race detector needs: apt-get install gcc libc6-dev" >&2; exit 1; }

need-node:
	@command -v node >/dev/null && command -v npm >/dev/null || { \
	  echo "Node.js 20 and npm are missing, which the page's tests need: apt-get install nodejs npm" >&2; exit 1; }

need-netns: tools
	@probe=weft-probe-$$$$; \
	if ! why=$$(ip netns add $$probe 2>&1); then \
	  echo "Network namespaces cannot be made here, which the tests with loss need; they want root (in a container: --privileged): $$why" >&2; exit 1; fi; \
	why=$$(ip netns exec $$probe nft list ruleset 2>&1) || { \
	  ip netns del $$probe; echo "nft does not work in a network namespace, which the tests with loss need: $$why" >&2; exit 1; }; \
	ip netns del $$probe

tools: need-node
	@PLAYWRIGHT=$(PLAYWRIGHT) PUPPETEER=$(PUPPETEER) SOCKETIO=$(SOCKETIO) DATACHANNEL=$(DATACHANNEL) .ci/tools $(TOOLS)
