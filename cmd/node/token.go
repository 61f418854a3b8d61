package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/node/serve/access"
)

// tokenKeyEnv holds keys for tokens. It is no flag: a command line can be read
// by everybody on the machine.
const tokenKeyEnv = envPrefix + "TOKEN_KEY"

// tokenOptions are the flags of weft token.
type tokenOptions struct {
	room, prefix string
	allRooms     bool
	publish      bool
	watch        bool
	hub          bool
	name         string
	expires      time.Duration
	keyFile      string
	newKey       string
	public       bool
}

func (a *app) tokenCommand() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "token --room ROOM [--publish] [--watch] --key-file FILE",
		Short: "Make a token that lets its bearer into a room, or a key for tokens",
		Long: `Prints a token: a JWT for weft serve --token-key-file, which has the same key.
The key is in a file or in WEFT_TOKEN_KEY, a JSON Web Key both times, and never
on the command line. With --new-key it makes such a file, for its owner alone.`,
		Example: `  weft token --new-key hs256 --key-file weft.key
  weft token --room demo --publish --watch --expires 24h --key-file weft.key
  weft token --new-key ed25519 --key-file weft.key
  weft token --public --key-file weft.key`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case o.newKey != "":
				return a.newTokenKey(o)
			case o.public:
				return a.publicTokenKey(o)
			default:
				return a.token(o)
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.room, "room", "", "the room that it is for")
	f.StringVar(&o.prefix, "room-prefix", "", "or all rooms whose names begin so")
	f.BoolVar(&o.allRooms, "all-rooms", false, "or every room")
	f.BoolVar(&o.publish, "publish", false, "allow to publish")
	f.BoolVar(&o.watch, "watch", false, "allow to watch")
	f.BoolVar(&o.hub, "hub", false, "allow to be a hub, which forwards what others publish")
	f.StringVar(&o.name, "name", "", "whom it is for")
	f.DurationVar(&o.expires, "expires", 24*time.Hour, fmt.Sprintf("time until it is no good any more, at most %dh", access.MaxLife/time.Hour))
	f.StringVar(&o.keyFile, "key-file", "", "file with the key (default: what "+tokenKeyEnv+" holds)")
	f.StringVar(&o.newKey, "new-key", "", "make a key, hs256 or ed25519, and put it into --key-file, which must not be there yet")
	f.BoolVar(&o.public, "public", false, "print the public half of an ed25519 key: enough for a server that makes no tokens")
	return cmd
}

// newTokenKey makes a file that only its owner can read, and no file where one is.
func (a *app) newTokenKey(o tokenOptions) error {
	algorithms := map[string]access.Algorithm{"hs256": access.HS256, "ed25519": access.EdDSA}
	alg, ok := algorithms[strings.ToLower(o.newKey)]
	if !ok {
		return usagef("--new-key %q: want hs256 or ed25519", o.newKey)
	}
	if o.keyFile == "" {
		return usagef("--new-key needs --key-file: where is the key to go?")
	}
	key, err := access.NewKey(alg)
	if err != nil {
		return err
	}
	text, err := key.MarshalFile()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(o.keyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--key-file: %w", err)
	}
	if _, err := file.Write(text); err != nil {
		return errors.Join(fmt.Errorf("--key-file: %w", err), file.Close())
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--key-file: %w", err)
	}
	if a.json {
		return a.printJSON(map[string]string{"key_file": o.keyFile, "kid": key.ID(), "alg": string(key.Algorithm())})
	}
	_, err = fmt.Fprintf(a.stdout, "%v is in %s\n", key, o.keyFile)
	return err
}

func (a *app) publicTokenKey(o tokenOptions) error {
	keys, err := a.readKeys(o.keyFile)
	if err != nil {
		return err
	}
	public, err := keys[0].Public()
	if err != nil {
		return usageError{err}
	}
	text, err := public.MarshalFile()
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(text)
	return err
}

// token prints one.
func (a *app) token(o tokenOptions) error {
	named := 0
	for _, given := range []bool{o.room != "", o.prefix != "", o.allRooms} {
		if given {
			named++
		}
	}
	if named != 1 {
		return usagef("give one of --room, --room-prefix and --all-rooms")
	}
	for _, name := range []string{o.room, o.prefix} {
		if err := signal.ValidRoom(name); name != "" && err != nil {
			return usagef("--room: %w", err)
		}
	}
	list, err := a.readKeys(o.keyFile)
	if err != nil {
		return err
	}
	keys, err := access.NewKeys(list...)
	if err != nil {
		return usageError{err}
	}
	key, ok := keys.Signer()
	if !ok {
		return usagef("the key can check tokens but not make them")
	}
	now := time.Now()
	claims := access.Claims{
		Room: o.room, RoomPrefix: o.prefix, AllRooms: o.allRooms, Publish: o.publish, Watch: o.watch, Hub: o.hub,
		Name: o.name, Expires: now.Add(o.expires),
	}
	token, err := access.Sign(key, claims, now)
	if err != nil {
		return usageError{err}
	}
	if a.json {
		return a.printJSON(map[string]any{"token": token.Reveal(), "expires": claims.Expires.UTC().Format(time.RFC3339)})
	}
	_, err = fmt.Fprintln(a.stdout, token.Reveal())
	return err
}

// readKeys reads the keys of a file, or those of the environment where none is
// named; there is always one.
func (a *app) readKeys(file string) ([]access.Key, error) {
	if file == "" {
		list, err := a.keysFromEnv()
		if err == nil && list == nil {
			err = usagef("the key is missing: name its file with --key-file, or have it in %s", tokenKeyEnv)
		}
		return list, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("key file: %w", err)
	}
	list, err := access.ParseKeys(text)
	if err != nil {
		return nil, usagef("%s: %w", file, err)
	}
	return list, nil
}

// keysFromEnv reads those of the environment, none if there are none.
func (a *app) keysFromEnv() ([]access.Key, error) {
	text := a.env(tokenKeyEnv)
	if text == "" {
		return nil, nil
	}
	list, err := access.ParseKeys([]byte(text))
	if err != nil {
		return nil, usagef("%s: %w", tokenKeyEnv, err)
	}
	return list, nil
}

// env is a variable of the environment, the last of that name.
func (a *app) env(name string) (value string) {
	for _, kv := range a.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// serverKeys are those of the files and of the environment together, nil if
// there are none.
func (a *app) serverKeys(files []string) (*access.Keys, error) {
	list, err := a.keysFromEnv()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		more, err := a.readKeys(file)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if list == nil {
		return nil, nil
	}
	keys, err := access.NewKeys(list...)
	if err != nil {
		return nil, usageError{err}
	}
	return keys, nil
}

// bearer is the token of a client: from a file, or from WEFT_TOKEN. Like a key it
// is never on the command line.
func (a *app) bearer(file string) (access.Secret, error) {
	text := a.env(envPrefix + "TOKEN")
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return access.Secret{}, usagef("--token-file: %w", err)
		}
		text = string(b)
	}
	return access.NewSecret(strings.TrimSpace(text)), nil
}
