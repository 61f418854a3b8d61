package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// publishOptions are the flags of weft publish.
type publishOptions struct {
	room, signal, prefix string
	certSHA256           string
	tokenFile            string
	label, name          string
	files                []string
	pattern              string
	simulcast            bool
	loop                 bool
}

func (a *app) publishCommand() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish --room ROOM (--file FILE... | --test-pattern [" + strings.Join(source.Patterns(), "|") + "])",
		Short: "Join a room and publish files or a test pattern",
		Long: `Joins a room as one more peer and publishes a stream in real time. Prints one
line with "ready":true when it has joined. It waits for a server that is not up
yet, and comes back by itself after one that went away. Without --loop it ends
when the files do.`,
		Example: `  weft publish --room demo --file clip.ivf --file sound.ogg --loop
  weft publish --room demo --test-pattern
  weft publish --room demo --simulcast --file low.ivf --file mid.ivf --file high.ivf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.takePattern(args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			return a.publish(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.room, "room", "", "room to join (needed)")
	f.StringVar(&o.signal, "signal", "ws://127.0.0.1:8080/nats", "signaling: ws://, wss:// (NATS over WebSocket), nats://, tls://, mqtt://, mqtts://, mqtt+ws://, mqtt+wss://, sse+http://, sse+https://, socketio+http:// or socketio+https://")
	f.StringVar(&o.prefix, "signal-prefix", "", "prefix of the signaling's subjects, topics or event names, as in Peerix")
	f.StringVar(&o.certSHA256, "signal-cert-sha256", "", "trust the TLS server whose certificate has this SHA-256, as weft serve prints it, and no other")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the token for a room of a weft serve that wants one (default: what WEFT_TOKEN holds)")
	f.StringArrayVar(&o.files, "file", nil, "media file to publish: .ivf (VP8, VP9, AV1), .h264, .ogg (Opus); repeatable")
	f.StringVar(&o.pattern, "test-pattern", "", "publish an embedded clip with a frame counter and a tone: "+strings.Join(source.Patterns(), ", ")+" (slow: a keyframe every 10 s)")
	f.Lookup("test-pattern").NoOptDefVal = source.DefaultPattern
	f.BoolVar(&o.simulcast, "simulcast", false, "publish all video files as qualities of one picture, from low to high; of a test pattern ("+strings.Join(source.SimulcastPatterns(), ", ")+") its three")
	f.BoolVar(&o.loop, "loop", false, "begin again at the end; a test pattern always does")
	f.StringVar(&o.label, "label", "camera", "label of the stream")
	f.StringVar(&o.name, "name", "", "name that others see (default: what is published)")
	return cmd
}

// takePattern makes --test-pattern h264 mean --test-pattern=h264. The library
// cannot know whether a word after a flag with an optional value belongs to it.
func (o *publishOptions) takePattern(args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case len(args) == 1 && o.pattern == source.DefaultPattern:
		o.pattern = args[0]
		return nil
	case len(o.files) > 0:
		return usagef("unexpected argument %q; several files need a --file each", args[0])
	default:
		return usagef("unexpected argument %q", args[0])
	}
}

// validate checks everything that needs no network, and fills defaults in.
func (o *publishOptions) validate() error {
	if o.room == "" {
		return usagef("--room is missing: which room to join?")
	}
	if err := signal.ValidRoom(o.room); err != nil {
		return usagef("--room: %w", err)
	}
	if (len(o.files) == 0) == (o.pattern == "") {
		return usagef("give either --file or --test-pattern")
	}
	if o.pattern != "" {
		if !slices.Contains(source.Patterns(), o.pattern) {
			return usagef("--test-pattern %q: want %s", o.pattern, strings.Join(source.Patterns(), ", "))
		}
		if o.simulcast && !slices.Contains(source.SimulcastPatterns(), o.pattern) {
			return usagef("--test-pattern %q has one quality only: with --simulcast want %s", o.pattern, strings.Join(source.SimulcastPatterns(), " or "))
		}
		o.loop = true
	}
	u, err := url.Parse(o.signal)
	if err != nil || u.Host == "" || !slices.Contains(dial.Schemes, u.Scheme) {
		return usagef("--signal %q: want a host and one of %s, for example ws://127.0.0.1:8080/nats", redacted(o.signal), strings.Join(dial.Schemes[1:], ", "))
	}
	if b, err := hex.DecodeString(o.certSHA256); err != nil || (len(b) != 0 && len(b) != sha256.Size) {
		return usagef("--signal-cert-sha256 %q: want %d hexadecimal digits", o.certSHA256, 2*sha256.Size)
	}
	if o.name == "" {
		o.name = "test pattern"
		if len(o.files) > 0 {
			o.name = filepath.Base(o.files[0])
		}
	}
	return nil
}

// publishReady is the line that scripts wait for.
type publishReady struct {
	Ready  bool         `json:"ready"`
	Room   string       `json:"room"`
	ID     string       `json:"id"`
	Label  string       `json:"label"`
	Tracks []readyTrack `json:"tracks"`
}

type readyTrack struct {
	Kind   string   `json:"kind"`
	Codec  string   `json:"codec"`
	Layers []string `json:"layers,omitempty"` // RIDs from low to high, with --simulcast
}

// publish joins and publishes until the source ends or ctx does. Both are
// success.
func (a *app) publish(ctx context.Context, o publishOptions) error {
	log, err := a.logger()
	if err != nil {
		return err
	}
	src, err := source.Open(source.Config{Files: o.files, Pattern: o.pattern, Simulcast: o.simulcast, Loop: o.loop})
	if err != nil {
		return err
	}
	token, err := a.bearer(o.tokenFile)
	if err != nil {
		return err
	}
	metadata := map[string]any{"name": o.name}
	door, err := newGuest(o.signal, o.room, token, pinned(o.certSHA256), metadata, log)
	if err != nil {
		return err
	}
	d, err := dial.New(signalFor(o.signal, o.room, token), dial.Options{Prefix: o.prefix, TLS: pinned(o.certSHA256), Token: token.Reveal(), Logger: log})
	if err != nil {
		return fmt.Errorf("--signal %s: %w", redacted(o.signal), err)
	}
	defer d.Close()
	api, err := conn.NewAPI(conn.Config{IncludeLoopback: isLoopbackURL(o.signal), Logger: log})
	if err != nil {
		return err
	}
	defer api.Close()
	cfg := node.Config{Driver: d, Conn: api, Metadata: metadata, Logger: log}
	if door != nil {
		cfg.Verify = door.verify
	}
	peer, err := node.New(cfg)
	if err != nil {
		return err
	}
	defer peer.Close()
	watchPeers(peer, log)
	if err := peer.Publish(publish.Stream{Label: o.label, Tracks: src.Tracks()}); err != nil {
		return usagef("--label: %w", err)
	}
	if err := peer.Join(ctx, o.room); err != nil {
		return stopped(ctx, err)
	}
	if door != nil {
		if err := door.enter(ctx, peer); err != nil {
			return stopped(ctx, err)
		}
		defer background(ctx, door.run)()
	}
	if err := waitActive(ctx, d, redacted(o.signal), log); err != nil {
		return stopped(ctx, err)
	}
	if err := a.printJSON(readyLine(o, peer, src)); err != nil {
		return err
	}
	return stopped(ctx, src.Run(ctx))
}

// background runs f on a goroutine; the function that it returns ends and joins
// it.
func background(ctx context.Context, f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

func readyLine(o publishOptions, peer *node.Peer, src source.Source) publishReady {
	ready := publishReady{Ready: true, Room: o.room, ID: peer.ID(), Label: o.label}
	for _, t := range src.Tracks() {
		rt := readyTrack{Kind: t.Kind().String(), Codec: t.Codec().Name}
		if layers := t.Layers(); len(layers) > 1 {
			for _, l := range layers {
				rt.Layers = append(rt.Layers, l.RID())
			}
		}
		ready.Tracks = append(ready.Tracks, rt)
	}
	return ready
}

// stopped turns the error of a run that was told to stop into success.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// waitActive waits until signaling is reached for the first time, so that a file
// does not play to nobody. It says once that it is waiting.
func waitActive(ctx context.Context, d driver.Driver, url string, log *slog.Logger) error {
	active := make(chan struct{}, 1)
	cancel := d.Watch(func(on bool) {
		if on {
			select {
			case active <- struct{}{}:
			default:
			}
		}
	})
	defer cancel()
	if d.Active() {
		return nil
	}
	log.Info("waiting for signaling", "signal", url)
	select {
	case <-active:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watchPeers logs who comes and goes, and with what.
func watchPeers(peer *node.Peer, log *slog.Logger) {
	peer.OnConnection(func(e node.ConnectionEvent) {
		switch e.State {
		case conn.StateConnected, conn.StateDisconnected, conn.StateClosed:
			args := []any{"peer", e.ID, "state", e.State.String()}
			if e.Via != "" {
				args = append(args, "via", e.Via)
			}
			if e.Err != nil {
				args = append(args, "reason", e.Err)
			}
			log.Info("connection", args...)
		}
	})
	peer.OnStream(func(e node.StreamEvent) {
		what := "stream removed"
		if e.Added {
			what = "stream added"
		}
		log.Info(what, "peer", e.Peer, "label", e.Label)
	})
	peer.OnError(func(err error) { log.Warn("room", "error", err) })
}

// redacted is a URL as it may be shown: without its password.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "that cannot be read"
	}
	return u.Redacted()
}

// isLoopbackURL reports whether signaling is on this machine; then media may be
// as well, on a machine without any other network.
func isLoopbackURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// pinned makes TLS trust one certificate, by its fingerprint, in place of the
// system's authorities: a self-signed server has no other way to be known.
func pinned(fingerprint string) *tls.Config {
	if fingerprint == "" {
		return nil
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection takes its place
		VerifyConnection: func(cs tls.ConnectionState) error {
			sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
			if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, fingerprint) {
				return fmt.Errorf("server certificate has SHA-256 %s, not the one of --signal-cert-sha256", got)
			}
			return nil
		},
	}
}
