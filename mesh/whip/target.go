package whip

import (
	"net/http"
	"net/url"
	"strings"
)

// target is what a path is about.
type target struct {
	action       Action
	api          bool // /api/…: the token says what room and stream
	room, stream string
	session      string // "": the endpoint
	extension    string // of the session: "layer" or "events"
}

// whole stands in a session's path for no stream.
const whole = "_"

// parseTarget reads a path, which is still escaped: a room or a stream may have a
// slash in its name.
func parseTarget(path string) (t target, ok bool) {
	api, rest := false, path
	if r, cut := strings.CutPrefix(path, "/api/"); cut {
		api, rest = true, "/"+r
	}
	switch {
	case rest == "/whip", strings.HasPrefix(rest, "/whip/"):
		t.action = Publish
	case rest == "/whep", strings.HasPrefix(rest, "/whep/"):
		t.action = Play
	default:
		return t, false
	}
	t.api = api
	words := strings.Split(rest, "/")[2:]
	for i, w := range words {
		u, err := url.PathUnescape(w)
		if err != nil || w == "" {
			return t, false
		}
		words[i] = u
	}
	if !api {
		if len(words) == 0 {
			return t, false
		}
		t.room, words = words[0], words[1:]
		if len(words) > 0 {
			if words[0] != whole || len(words) == 1 {
				t.stream = words[0]
			}
			words = words[1:]
		}
	}
	switch {
	case len(words) > 2:
		return t, false
	case len(words) == 2:
		t.extension = words[1]
		if t.action != Play || t.extension != "layer" && t.extension != "events" {
			return t, false
		}
	}
	if len(words) > 0 {
		t.session = words[0]
	}
	return t, true
}

// location is the path of a session.
func (t target) location(id string) string {
	name := "/whip/"
	if t.action == Play {
		name = "/whep/"
	}
	if t.api {
		return "/api" + name + id
	}
	stream := whole
	if t.stream != "" {
		stream = url.PathEscape(t.stream)
	}
	return name + url.PathEscape(t.room) + "/" + stream + "/" + id
}

// methods are what a target takes.
func (t target) methods() string {
	switch {
	case t.extension == "layer":
		return "POST, OPTIONS"
	case t.extension != "":
		return "GET, POST, OPTIONS"
	case t.session != "":
		return "GET, HEAD, PATCH, DELETE, OPTIONS"
	}
	return "GET, HEAD, POST, OPTIONS"
}

func (e *Endpoint) notAllowed(w http.ResponseWriter, r *http.Request, t target) {
	w.Header().Set("Allow", t.methods())
	e.refuse(w, r, fault(http.StatusMethodNotAllowed, r.Method+" means nothing here"))
}
