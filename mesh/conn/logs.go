package conn

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/pion/logging"
)

// pionLogs hands pion's log lines to slog. pion logs a peer's faults and
// ordinary ends as errors, so everything sinks by a level or two: errors become
// warnings, warnings and infos debug lines, and the rest is dropped.
type pionLogs struct{ log *slog.Logger }

// noise is what pion calls an error though it is how this package works: an
// SSRC that its own negotiation does not know (one line for each), and the ends
// of sockets and associations while a connection closes.
var noise = []string{
	"Incoming unhandled RTP",
	"Incoming unhandled RTCP",
	"use of closed network connection",
	"io: read/write on closed pipe",
	"Failed to accept data channel",
	"dropping candidate with ufrag",
	"conn is closed",
	"transport: closed",
	"the agent is closed",
	"Abort chunk",
}

// loud is what pion only warns of though nothing works without it.
var loud = []string{
	"failed to allocate on TURN client", // a wrong password, a server that is not there
}

func (p pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return pionLogger{p.log.With("pion", scope)}
}

type pionLogger struct{ log *slog.Logger }

func (l pionLogger) emit(level slog.Level, msg string) {
	if level > slog.LevelDebug && contains(msg, noise) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, msg)
}

func contains(msg string, any []string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(msg, s) })
}

func (l pionLogger) emitf(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.emit(level, fmt.Sprintf(format, args...))
	}
}

func (l pionLogger) warn(msg string) {
	level := slog.LevelDebug
	if contains(msg, loud) {
		level = slog.LevelWarn
	}
	l.emit(level, msg)
}

func (l pionLogger) Trace(string)              {}
func (l pionLogger) Tracef(string, ...any)     {}
func (l pionLogger) Debug(string)              {}
func (l pionLogger) Debugf(string, ...any)     {}
func (l pionLogger) Info(msg string)           { l.emit(slog.LevelDebug, msg) }
func (l pionLogger) Infof(f string, a ...any)  { l.emitf(slog.LevelDebug, f, a) }
func (l pionLogger) Warn(msg string)           { l.warn(msg) }
func (l pionLogger) Warnf(f string, a ...any)  { l.warn(fmt.Sprintf(f, a...)) }
func (l pionLogger) Error(msg string)          { l.emit(slog.LevelWarn, msg) }
func (l pionLogger) Errorf(f string, a ...any) { l.emitf(slog.LevelWarn, f, a) }
