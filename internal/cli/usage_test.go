package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestHelp reads the help of every command as people will.
func TestHelp(t *testing.T) {
	a := &app{Streams: Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}}
	found := 0
	var read func(*cobra.Command)
	read = func(cmd *cobra.Command) {
		found++
		path := strings.Fields(cmd.CommandPath())[1:]
		var out, complaints bytes.Buffer
		if status := Run(t.Context(), Streams{Out: &out, Err: &complaints}, append(path, "--help")); status != 0 || complaints.Len() > 0 {
			t.Errorf("%s --help: exit status %d, %q on standard error", cmd.CommandPath(), status, complaints.String())
		}
		for _, l := range strings.Split(out.String(), "\n") {
			if len(l) > 120 {
				t.Errorf("%s --help: a line has %d characters: %s", cmd.CommandPath(), len(l), l)
			}
		}
		if usage := "Usage:\n  " + cmd.CommandPath(); !strings.Contains(out.String(), usage) {
			t.Errorf("%s --help does not say %q:\n%s", cmd.CommandPath(), usage, out.String())
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || cmd.Args == nil && cmd.Name() != "help" {
			t.Errorf("%s: wants a short text that is no sentence, and to say which arguments it takes", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s does nothing that it says", cmd.CommandPath(), f.Name)
			}
		})
		for _, c := range cmd.Commands() {
			read(c)
		}
	}
	read(a.root())
	if found < 20 {
		t.Errorf("read the help of %d commands", found)
	}
}
