package whip

import (
	"net/http"
	"strings"

	"github.com/pion/webrtc/v4"
)

// expose lets pages read what they need of an answer (RFC 9725 section 4.1).
func expose(h http.Header) {
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After")
}

// options says what a target takes, to pages and to others.
func (e *Endpoint) options(w http.ResponseWriter, t target) {
	h := w.Header()
	h.Set("Allow", t.methods())
	h.Set("Access-Control-Allow-Methods", t.methods())
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "600")
	if t.session == "" {
		h.Set("Accept-Post", typeSDP)
		for _, link := range e.links {
			h.Add("Link", link)
		}
	} else if t.extension == "" {
		h.Set("Accept-Patch", typeFragment)
	}
	w.WriteHeader(http.StatusOK)
}

// iceLinks writes ICE servers as Link headers (RFC 9725 section 4.6).
func iceLinks(servers []webrtc.ICEServer) []string {
	var links []string
	for _, s := range servers {
		for _, url := range s.URLs {
			link := "<" + url + ">; rel=\"ice-server\""
			if s.Username != "" {
				link += "; username=" + quoted(s.Username)
			}
			if credential, ok := s.Credential.(string); ok && credential != "" {
				link += "; credential=" + quoted(credential) + "; credential-type=\"password\""
			}
			links = append(links, link)
		}
	}
	return links
}

// quoted makes a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}
