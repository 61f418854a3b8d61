package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-rtc/weft/node/serve"
	"github.com/weft-rtc/weft/node/serve/access"
)

// serveCommand is weft serve; the root command is a second one of it.
func (a *app) serveCommand(use string) *cobra.Command {
	var cfg serve.Config
	var guard guardOptions
	cmd := &cobra.Command{
		Use:  use,
		Args: noArguments,
		Long: `Serves rooms on one HTTP port: the page at / and /r/ROOM, signaling at /nats,
an API at /api/v1, and a hub that enters a room when its page is opened. Others
publish by WHIP at /whip/ROOM and watch by WHEP at /whep/ROOM.
Prints one line with "ready":true and the URLs when it is up.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, cfg, guard) },
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", serve.DefaultListen, "HTTP address host:port; other than loopback needs tokens or --open and speaks TLS")
	f.StringVar(&cfg.UDP, "udp", "", "media address host:port (default port 7882, on loopback if --listen is)")
	f.BoolVar(&cfg.Open, "open", false, "let everybody in who reaches the address")
	f.StringArrayVar(&guard.keyFiles, "token-key-file", nil, "file with a key that tokens are signed by, as of weft token --new-key; everybody then needs a token; repeatable (also: "+tokenKeyEnv+" holds a key)")
	f.StringVar(&guard.webhook, "auth-webhook", "", "http(s) URL of an application that is asked who may do what, in place of tokens")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM file with the certificate (default: self-signed)")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "PEM file with its key")
	f.StringArrayVar(&cfg.Rooms, "room", nil, "room that the hub enters at start and never leaves; repeatable")
	f.BoolVar(&cfg.NoHub, "no-hub", false, "page and signaling only: every room is a mesh")
	f.IntVar(&cfg.MaxRooms, "max-rooms", serve.DefaultMaxRooms, "rooms that the hub is in at a time, at most")
	f.IntVar(&cfg.MaxPeers, "max-peers", serve.DefaultMaxPeers, "peers that the hub is connected to in one room, at most")
	f.IntVar(&cfg.MaxTracks, "max-tracks", serve.DefaultMaxTracks, "tracks that the hub takes of one peer, at most")
	f.Int64Var(&cfg.MaxBitrate, "max-bitrate", serve.DefaultMaxBitrate, "bits a second of one track with all its layers; what is more is dropped")
	f.IntVar(&cfg.MaxRequests, "max-requests", serve.DefaultRequests, "HTTP requests of one address a second, loopback apart")
	f.StringVar(&cfg.ICETCP, "ice-tcp", "", "media address host:port for those whom no UDP reaches, for example :7881 (default: none)")
	f.StringArrayVar(&cfg.PublicIPs, "public-ip", nil, "address by which this machine is reached behind a NAT that maps it one to one; repeatable")
	f.StringVar(&cfg.Signal, "signal", serve.SignalEmbedded, "embedded, or the URL of a broker as of weft publish; pages reach one by ws:// or wss:// without a user only")
	f.StringVar(&cfg.SignalPrefix, "signal-prefix", "", "prefix of that broker's subjects, topics or event names, as in Peerix")
	f.BoolVar(&cfg.MQTT, "mqtt", false, "signaling by MQTT 3.1.1 at /mqtt too; keeps at most 64 MiB in a temporary directory while it runs")
	f.StringArrayVar(&cfg.AllowOrigins, "allow-origin", nil, "other origin scheme://host whose pages and proxies may use this server; repeatable")
	f.StringArrayVar(&cfg.FrameAncestors, "frame-ancestor", nil, "who may show the page in a frame, as in Content-Security-Policy; repeatable")
	return cmd
}

// noArguments is cobra.NoArgs for commands and for the root, where an argument
// is most likely a mistyped command.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasParent():
		return usagef("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	default:
		return usagef("there is no command %q", args[0])
	}
}

// guardOptions say who decides who is let in.
type guardOptions struct {
	keyFiles []string
	webhook  string
}

func (a *app) serve(cmd *cobra.Command, cfg serve.Config, guard guardOptions) error {
	log, err := a.logger()
	if err != nil {
		return err
	}
	if cfg.Tokens, err = a.serverKeys(guard.keyFiles); err != nil {
		return err
	}
	cfg.AuthWebhook = access.NewSecret(guard.webhook)
	cfg.Logger = log
	cfg.Ready = a.announce
	srv, err := serve.New(cfg)
	if err != nil {
		return usageError{err}
	}
	return srv.Run(cmd.Context())
}

// announce prints the line that scripts wait for and, for people, the page's
// URL as text and as a QR code.
func (a *app) announce(info serve.Info) {
	if a.json || !isTerminal(a.stdout) {
		_ = a.printJSON(info)
		return
	}
	banner(a.stdout, info)
	_ = a.printJSON(info)
}

func banner(w io.Writer, info serve.Info) {
	fmt.Fprintf(w, "\n  Weft is ready. Open a room in a browser:\n\n    %s\n\n", info.URL)
	if info.WHIP != "" {
		fmt.Fprintf(w, "  OBS and others publish by WHIP into %sROOM, any token; players watch %sROOM\n\n", info.WHIP, info.WHEP)
	}
	if strings.HasPrefix(info.URL, "https:") {
		_ = serve.WriteQR(w, info.URL) // a loopback URL means another machine to a phone
		fmt.Fprintf(w, "\n  The certificate is checked by its SHA-256, which the browser shows too:\n    %s\n\n", info.CertSHA256)
	}
}
