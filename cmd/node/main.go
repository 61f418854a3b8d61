// Command weft joins WebRTC rooms as one more peer: it serves rooms with a
// forwarding hub, publishes files and test patterns, and tells its version.
//
// The folder is cmd/node; the installed command is weft. Flags go in, an exit
// code comes out: 0 done, 1 failed, 2 used wrongly. Logs go to standard error,
// results to standard output. Everything that could be of use to an embedder
// lives in node/serve and node, not here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal ends in order, the second at once
	app := &app{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	os.Exit(app.run(ctx, os.Args[1:]))
}

// app is the command with its surroundings, so that tests run it in process.
type app struct {
	stdout, stderr io.Writer
	environ        []string

	// Flags that every command has.
	config   string
	json     bool
	logLevel string
}

// usageError marks a mistake of the caller.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes a usageError.
func usagef(format string, v ...any) error { return usageError{fmt.Errorf(format, v...)} }

// run executes the command line and returns the exit code. It blocks.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	began := false // from there on an error is no longer cobra's about the command line
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.settle(cmd); err != nil {
			return err
		}
		began = true
		return nil
	}
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case !began || errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "weft: %v\nTry: weft --help\n", err)
		return exitUsage
	default:
		fmt.Fprintf(a.stderr, "weft: %v\n", err)
		return exitFailed
	}
}

// rootCommand builds the tree. weft alone is weft serve.
func (a *app) rootCommand() *cobra.Command {
	root := a.serveCommand("weft")
	root.Short = "A WebRTC media peer and forwarding hub; without a command: weft serve"
	root.SilenceErrors, root.SilenceUsage = true, true
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "YAML file with the same names as the flags")
	flags.BoolVar(&a.json, "json", false, "print results as JSON")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	serve := a.serveCommand("serve")
	serve.Short = "Serve rooms: page, signaling and hub on one HTTP port"
	root.AddCommand(serve, a.publishCommand(), a.tokenCommand(), a.versionCommand())
	return root
}
