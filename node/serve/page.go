package serve

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// The page is plain files, served as they are: no build step.
//
//go:embed web
var web embed.FS

// asset is one file of the page, read and hashed once.
type asset struct {
	body []byte
	etag string
	kind string // Content-Type
}

// page serves the embedded files and the document of a room.
type page struct {
	assets map[string]asset // by URL path below /
	csp    string
}

// newPage reads every file below root, except tests.
func newPage(root fs.FS, frameAncestors []string) (*page, error) {
	p := &page{assets: map[string]asset{}, csp: contentPolicy(frameAncestors)}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == "test" {
				return fs.SkipDir
			}
			return nil
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		p.assets[name] = asset{
			body: body,
			etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
			kind: contentType(name),
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("serve: page: %w", err)
	}
	if _, ok := p.assets["index.html"]; !ok {
		return nil, fmt.Errorf("serve: page: web/index.html is missing")
	}
	return p, nil
}

// contentPolicy is the page's Content-Security-Policy: nothing from elsewhere,
// no inline script, and by default in nobody's frame.
func contentPolicy(frameAncestors []string) string {
	frames := "'none'"
	if len(frameAncestors) > 0 {
		frames = strings.Join(frameAncestors, " ")
	}
	return "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors " + frames
}

// contentType does not ask the machine's mime tables, which differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".webmanifest":
		return "application/json"
	case ".woff2":
		return "font/woff2"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// ServeHTTP serves a file of the page, and the document itself for /.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	p.serve(w, r, name)
}

// document serves the page itself, whatever the path was.
func (p *page) document(w http.ResponseWriter, r *http.Request) { p.serve(w, r, "index.html") }

func (p *page) serve(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := p.assets[name]
	if !ok {
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("there is nothing at %s; the page is at /", r.URL.Path))
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // ask every time: the answer is mostly 304
	h.Set("Content-Security-Policy", p.csp)
	h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self)")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}
