package serve

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/weft-rtc/weft/"

// layers holds the import directions of the design: the packages below the key
// may import, of this module, only what is below the values (and what is below
// themselves). The longest key that fits a package holds.
var layers = map[string][]string{
	"interceptors":   {},
	"publish":        {"interceptors"},
	"subscribe":      {"publish", "interceptors"},
	"mesh":           {"mesh", "interceptors"},
	"node":           {"mesh", "subscribe", "publish", "interceptors"},
	"node/serve":     {"node", "mesh", "interceptors"},
	"cmd":            {"node", "mesh", "subscribe", "publish", "interceptors"},
	"mesh/signal":    {},
	"mesh/sdp":       {"interceptors"},
	"mesh/driver":    {"mesh/signal"},
	"mesh/conn":      {"mesh/signal", "mesh/sdp", "interceptors"},
	"mesh/whip":      {"mesh/sdp"},
	"publish/source": {"publish", "interceptors"},
}

// heavy modules are linked by node/serve and what imports it, nothing else.
var heavy = []string{"github.com/nats-io/nats-server", "github.com/prometheus/"}

// listed is what go list -json tells of a package.
type listed struct {
	ImportPath string
	Imports    []string // by this package
	Deps       []string // all that it links
}

// listPackages asks the go command about every package of the module.
func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list output: %v", err)
		}
		all = append(all, p)
	}
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// layerOf is the longest layer that holds the package, "" for none.
func layerOf(path string) string {
	best := ""
	for dir := range layers {
		if below(path, dir) && len(dir) > len(best) {
			best = dir
		}
	}
	return best
}

// allowed reports whether a package may import another of this module.
func allowed(from, to string) bool {
	layer := layerOf(from)
	if below(to, layer) && layerOf(to) == layer {
		return true
	}
	for _, dir := range layers[layer] {
		// node may be imported, node/serve only where it is named.
		if below(to, dir) && (layerOf(to) == dir || dir != "node" || below(from, "cmd")) {
			return true
		}
	}
	return false
}

// TestImportsPointOneWay keeps the house: cmd > node/serve > node > {mesh,
// subscribe > publish} > interceptors.
func TestImportsPointOneWay(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 8 {
		t.Fatalf("go list found %d packages, want the whole module", len(packages))
	}
	for _, p := range packages {
		from := strings.TrimPrefix(p.ImportPath, module)
		if layerOf(from) == "" {
			t.Errorf("package %s is in no layer", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if ours && !allowed(from, to) {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
}

// TestImportsStayLight keeps the embedded bus out of what an embedder with a bus
// of his own links.
func TestImportsStayLight(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if below(name, "node/serve") || below(name, "cmd") {
			continue
		}
		for _, dep := range p.Deps {
			for _, bad := range heavy {
				if strings.HasPrefix(dep, bad) {
					t.Errorf("%s links %s", name, dep)
				}
			}
		}
	}
}

// TestImportRule makes sure that the rule above refuses what it should.
func TestImportRule(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"mesh", "mesh/conn", true},
		{"mesh", "publish", false},
		{"mesh/conn", "mesh", false},
		{"mesh/sdp", "mesh/conn", false},
		{"publish", "subscribe", false},
		{"publish", "mesh", false},
		{"publish", "publish/source", false},
		{"publish/source", "publish", true},
		{"subscribe", "publish", true},
		{"subscribe", "mesh/conn", false},
		{"interceptors/codec", "publish", false},
		{"node", "node/serve", false},
		{"node", "mesh/conn", true},
		{"node/serve", "node", true},
		{"node/serve", "publish", false},
		{"cmd/node", "node/serve", true},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("allowed(%s, %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
