package serve

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// origins are the patterns of Config.AllowOrigins in lower case: whose pages may
// use this server beside its own.
type origins []string

func newOrigins(allowed []string) origins {
	var o origins
	for _, origin := range allowed {
		o = append(o, strings.ToLower(origin))
	}
	return o
}

// tell applies the rule of /nats: pages of the same host and of the origins that
// the operator named, and whatever is no page. It tells the browser.
func (o origins) tell(w http.ResponseWriter, r *http.Request) (allowed bool) {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if !strings.EqualFold(u.Host, r.Host) && !o.match(strings.ToLower(u.Scheme+"://"+u.Host)) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Allow-Credentials", "true") // for what a proxy asks
	return true
}

func (o origins) match(name string) bool {
	for _, pattern := range o {
		if match, err := path.Match(pattern, name); pattern == name || err == nil && match {
			return true
		}
	}
	return false
}
