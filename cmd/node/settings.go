package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the name of every environment variable that is a flag:
// --max-rooms is WEFT_MAX_ROOMS.
const envPrefix = "WEFT_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settle fills in the flags that were not given on the command line: from the
// environment, else from the file that --config names. Flags win over
// environment over file over default.
func (a *app) settle(cmd *cobra.Command) error {
	env := map[string]string{}
	for _, kv := range a.environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	if err := setFromEnv(cmd.Flags(), env); err != nil {
		return err
	}
	if a.config == "" {
		return nil
	}
	text, err := os.ReadFile(a.config)
	if err != nil {
		return usagef("--config: %w", err)
	}
	file, err := parseFile(a.config, text)
	if err != nil {
		return usageError{err}
	}
	return setFromFile(cmd.Flags(), file, knownFlags(cmd.Root()))
}

// setFromEnv sets what the command line did not. A flag that may be given
// several times takes a list with commas.
func setFromEnv(flags *pflag.FlagSet, env map[string]string) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := env[envName(f.Name)]
		if !ok || f.Changed || f.Name == "help" {
			return
		}
		values := []string{value}
		if repeats(f) {
			values = strings.Split(value, ",")
		}
		if err := setFlag(flags, f, values); err != nil {
			errs = append(errs, usagef("%s=%q: %w", envName(f.Name), value, err))
		}
	})
	return errors.Join(errs...)
}

// setting is one key of a file.
type setting struct {
	where  string // file:line
	key    string
	values []string
}

// parseFile reads a YAML mapping of flag names to values or lists of values.
func parseFile(name string, text []byte) ([]setting, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if doc.Kind == 0 { // empty
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines of the form name: value", name, root.Line)
	}
	var out []setting
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s := setting{where: fmt.Sprintf("%s:%d", name, key.Line), key: key.Value}
		if line, twice := seen[s.key]; twice {
			return nil, fmt.Errorf("%s: %q stands in line %d already", s.where, s.key, line)
		}
		seen[s.key] = key.Line
		nodes := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			nodes = value.Content
		}
		for _, n := range nodes {
			if n.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("%s: %q: want a value or a list of values", s.where, s.key)
			}
			s.values = append(s.values, n.Value)
		}
		out = append(out, s)
	}
	return out, nil
}

// setFromFile sets what neither command line nor environment did. A key that
// belongs to another command is fine: one file may serve them all.
func setFromFile(flags *pflag.FlagSet, file []setting, known map[string]bool) error {
	for _, s := range file {
		if !known[s.key] {
			return usagef("%s: unknown key %q; keys are the names of flags, see weft --help", s.where, s.key)
		}
		f := flags.Lookup(s.key)
		if f == nil || f.Changed {
			continue
		}
		if len(s.values) != 1 && !repeats(f) {
			return usagef("%s: %q takes one value, not a list", s.where, s.key)
		}
		if err := setFlag(flags, f, s.values); err != nil {
			return usagef("%s: %q: %w", s.where, s.key, err)
		}
	}
	return nil
}

// knownFlags are the names that a file may have: those of every command, but
// not --config and --help.
func knownFlags(root *cobra.Command) map[string]bool {
	known := map[string]bool{}
	add := func(f *pflag.Flag) { known[f.Name] = f.Name != "config" && f.Name != "help" }
	for _, cmd := range append([]*cobra.Command{root}, root.Commands()...) {
		cmd.Flags().VisitAll(add)
		cmd.PersistentFlags().VisitAll(add)
	}
	return known
}

func repeats(f *pflag.Flag) bool {
	_, ok := f.Value.(pflag.SliceValue)
	return ok
}

func setFlag(flags *pflag.FlagSet, f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		f.Changed = true
		return list.Replace(values)
	}
	return flags.Set(f.Name, values[0])
}
