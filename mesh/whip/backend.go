package whip

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// Action is what a client wants.
type Action string

// The actions.
const (
	Publish Action = "publish" // WHIP
	Play    Action = "play"    // WHEP
)

// Offer is a client's wish to begin a session.
type Offer struct {
	Action Action
	Room   string
	Stream string     // "": the default of WHIP, the whole room of WHEP
	Query  url.Values // of the request
	SDP    string
	Near   netip.Addr // the address of ours that the request came to, if it is known
	// Ended is to be called once, when the session has ended, whoever ended it.
	Ended func()
}

// Answer is what a session begins with.
type Answer struct {
	SDP string
	// Counter says that SDP is an offer, which the client is to answer: its own was
	// not acceptable. Only for Play.
	Counter bool
}

// Backend makes sessions. Its methods are called on many goroutines.
type Backend interface {
	// Begin begins a session. Errors are those of this package, wrapped or not; others
	// are the server's fault and are not shown to the client. ctx bounds Begin only.
	Begin(ctx context.Context, o Offer) (Session, Answer, error)
}

// Session is one session. The Endpoint calls Fragment and Accept one at a time.
type Session interface {
	// Fragment takes candidates, or new credentials; then the fragment returned has
	// ours, and none otherwise. A restart that fails must leave the session as it is.
	Fragment(ctx context.Context, f sdp.Fragment) (sdp.Fragment, error)
	// End ends the session; idempotent.
	End()
}

// Player is what a Session of Play can do as well.
type Player interface {
	// Accept takes the answer to a counter-offer.
	Accept(ctx context.Context, answer string) error
	// Choose takes which layer is wanted.
	Choose(c Choice) error
	// Status says what there is to see now.
	Status() Status
}

// Choice is what a player wants of a medium. The zero value leaves it to the
// server.
type Choice struct {
	Media    string // mid; "": the video
	Encoding string // name of the layer; "": any
	Spatial  *int   // at most, from 0; nil: any
	Temporal *int   // likewise
}

// Status is what a player sees, for its events.
type Status struct {
	Active  bool // something is being published
	Viewers int  // of the same
	Media   []Media
}

// Media are the layers of one media section, from low to high.
type Media struct {
	Mid    string
	Layers []Layer
}

// Layer is one of the qualities of a video.
type Layer struct {
	Encoding      string // its name
	Spatial       int    // spatial layer within it, from 0
	Width, Height int    // in pixels; 0: not known
	Bitrate       int    // bit/s
	Active        bool   // it is being published
	Current       bool   // it is what the player gets
}

// Errors by which a Backend says what is wrong; each has its status.
var (
	// ErrMalformed: the description cannot be read. 400
	ErrMalformed = errors.New("malformed description")
	// ErrName: a room or a stream cannot be called that. 400
	ErrName = errors.New("bad name")
	// ErrUnauthorized: no token, or one that does not count. 401
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: the token is not for this. 403
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: there is no such room, or no hub to serve it. 404
	ErrNotFound = errors.New("not found")
	// ErrNotPublished: nothing is published, yet. 409, with Retry-After
	ErrNotPublished = errors.New("nothing is being published")
	// ErrConflict: not at this point of the session. 409
	ErrConflict = errors.New("not at this point of the session")
	// ErrUnacceptable: a description that can be read but not be served, as a whole. 422
	ErrUnacceptable = errors.New("description is not acceptable")
	// ErrFull: no room for more. 503, with Retry-After
	ErrFull = errors.New("full")
)

// Waiting times that Retry-After tells.
const (
	retryPublished = 2 * time.Second
	retryFull      = 10 * time.Second
)
