package cli

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	block = regexp.MustCompile("(?ms)^```\\w*\n(.*?)^```$")
	word  = regexp.MustCompile(`"([^"]*)"|(\S+)`)
)

// TestDocumentedCommands takes the command lines of the pages about releases and certificates as if they were typed: commands, flags and arguments are as the program has
// them.
func TestDocumentedCommands(t *testing.T) {
	found := 0
	for _, page := range []string{"releases", "promotion", "certificates", "dns"} {
		raw, err := os.ReadFile("../../docs/concepts/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(raw), -1) {
			for line := range strings.Lines(m[1]) {
				rest, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "crossfade ")
				if !ok {
					continue
				}
				found++
				var args []string
				for _, w := range word.FindAllStringSubmatch(rest, -1) {
					args = append(args, w[1]+w[2])
				}
				a := &app{Streams: Streams{Out: io.Discard, Err: io.Discard}}
				cmd, args, err := a.root().Find(args)
				if err == nil {
					err = cmd.ParseFlags(args)
				}
				if err == nil {
					err = cmd.ValidateArgs(cmd.Flags().Args())
				}
				if err != nil || !cmd.HasParent() {
					t.Errorf("%s: %s: %v", page, strings.TrimSpace(line), err)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d command lines, want at least 10", found)
	}
}
