package whip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The extensions of WHEP, as links of a session.
const (
	relEvents = "urn:ietf:params:whep:ext:core:server-sent-events"
	relLayer  = "urn:ietf:params:whep:ext:core:layer"
)

// eventNames are the events there are.
var eventNames = []string{"active", "inactive", "layers", "viewercount"}

const (
	// eventEvery is how often a player's status is looked at.
	eventEvery = time.Second
	// eventQuiet is how long a stream of events says nothing: proxies end silent ones.
	eventQuiet = 15 * time.Second
	// eventWrite bounds the writing of one event.
	eventWrite = 10 * time.Second
)

// choose takes which layer a player wants.
func (e *Endpoint) choose(w http.ResponseWriter, r *http.Request, s *session) error {
	body, _, err := e.readBody(w, r, maxJSON, typeJSON)
	if err != nil {
		return err
	}
	var c struct {
		MediaID     string `json:"mediaId"`
		EncodingID  string `json:"encodingId"`
		Spatial     *int   `json:"spatialLayerId"`
		Temporal    *int   `json:"temporalLayerId"`
		MaxSpatial  *int   `json:"maxSpatialLayerId"`
		MaxTemporal *int   `json:"maxTemporalLayerId"`
	}
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return fault(http.StatusBadRequest, "not the JSON of a choice of layers: "+err.Error())
	}
	choice := Choice{Media: c.MediaID, Encoding: c.EncodingID, Spatial: c.MaxSpatial, Temporal: c.MaxTemporal}
	if c.Spatial != nil {
		choice.Spatial = c.Spatial
	}
	if c.Temporal != nil {
		choice.Temporal = c.Temporal
	}
	p, ok := s.backend.(Player)
	if !ok {
		return fault(http.StatusNotFound, "this session has no layers to choose from")
	}
	if err := p.Choose(choice); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// events names which events are wanted, or sends them until the player goes away
// or the session ends.
func (e *Endpoint) events(w http.ResponseWriter, r *http.Request, s *session) error {
	p, ok := s.backend.(Player)
	if !ok {
		return fault(http.StatusNotFound, "this session has no events")
	}
	if r.Method == http.MethodPost {
		return e.subscribe(w, r)
	}
	wanted := eventNames
	if list := r.URL.Query().Get("events"); list != "" {
		wanted = strings.Split(list, ",")
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := &eventStream{w: w, control: http.NewResponseController(w), wanted: wanted}
	_ = out.control.SetReadDeadline(time.Time{}) // the server's is for requests that end
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	for {
		if err := out.tell(p.Status(), time.Now()); err != nil {
			return nil // it has gone
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return nil
		case <-s.done:
			return nil
		}
	}
}

// subscribe answers with the URL at which the events that are wanted come.
func (e *Endpoint) subscribe(w http.ResponseWriter, r *http.Request) error {
	body, _, err := e.readBody(w, r, maxJSON, typeJSON)
	if err != nil {
		return err
	}
	var names []string
	if err := json.Unmarshal([]byte(body), &names); err != nil {
		return fault(http.StatusBadRequest, "not a JSON array of names of events")
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(eventNames, n) })
	location := r.URL.EscapedPath()
	if len(names) > 0 {
		location += "?events=" + strings.Join(names, ",")
	}
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// eventStream tells one client what has changed.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	wanted  []string
	told    map[string]string // the last of each event
	at      time.Time         // when something was written
}

func (s *eventStream) tell(st Status, now time.Time) error {
	var b bytes.Buffer
	for _, e := range describe(st) {
		if s.told[e.name] == e.data || !slices.Contains(s.wanted, e.name) {
			continue
		}
		if s.told == nil {
			s.told = map[string]string{}
		}
		s.told[e.name] = e.data
		switch e.name {
		case "active":
			delete(s.told, "inactive")
		case "inactive":
			delete(s.told, "active")
		}
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", e.name, e.data)
	}
	if b.Len() == 0 {
		if !s.at.IsZero() && now.Sub(s.at) < eventQuiet {
			return nil
		}
		b.WriteString(":\n\n")
	}
	s.at = now
	_ = s.control.SetWriteDeadline(now.Add(eventWrite))
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // with HTTP/2 it would end the silence
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}

// event is one event of a status.
type event struct{ name, data string }

// shownLayer is one layer in the event "layers".
type shownLayer struct {
	ID       string `json:"id,omitempty"` // in "active" and "inactive"
	Encoding string `json:"encodingId,omitempty"`
	Spatial  int    `json:"spatialLayerId"`
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
	Bitrate  int    `json:"bitrate"`
	Current  bool   `json:"current,omitempty"`
}

// shownMedia is one media section there.
type shownMedia struct {
	Active   []shownLayer `json:"active"`
	Inactive []shownLayer `json:"inactive"`
	Layers   []shownLayer `json:"layers"`
}

// bitrateStep is in bit/s: smaller changes of a bit rate are no news.
const bitrateStep = 50_000

// describe makes the events of a status.
func describe(st Status) []event {
	state := event{"inactive", "{}"}
	if st.Active {
		state.name = "active"
	}
	media := map[string]shownMedia{}
	for _, m := range st.Media {
		all := shownMedia{[]shownLayer{}, []shownLayer{}, []shownLayer{}}
		for _, l := range m.Layers {
			x := shownLayer{Encoding: l.Encoding, Spatial: l.Spatial, Width: l.Width, Height: l.Height,
				Bitrate: l.Bitrate / bitrateStep * bitrateStep, Current: l.Current}
			all.Layers = append(all.Layers, x)
			x.ID = l.Encoding
			if l.Active {
				all.Active = append(all.Active, x)
			} else {
				all.Inactive = append(all.Inactive, x)
			}
		}
		media[m.Mid] = all
	}
	layers, _ := json.Marshal(media) // of strings and numbers
	return []event{state, {"viewercount", fmt.Sprintf(`{"viewercount":%d}`, st.Viewers)}, {"layers", string(layers)}}
}
