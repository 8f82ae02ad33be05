package diff

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestShow(t *testing.T) {
	long := strings.Repeat("x", 2000)
	cut := strings.Repeat("x", 80)
	tests := map[string]struct {
		reason     string
		want, have any
		from, to   string
	}{
		"short":       {reason: "as JSON", want: "a\nb", have: int64(1), from: `"a\nb"`, to: "1"},
		"gone":        {reason: "what is not there is nothing", have: true, to: "true"},
		"long":        {reason: "the difference is shown, and how long it is", want: long + "1", have: long + "2", from: `"…` + cut + `1 (2001 bytes)"`, to: `"…` + cut + `2 (2001 bytes)"`},
		"long, alone": {reason: "its beginning", want: long, from: `"` + long[:1024] + `… (2000 bytes)"`},
		"long list":   {reason: "as JSON, which is longer", want: []any{long, "1"}, have: []any{long, "2"}, from: `"…` + cut[3:] + `\",\"1\"] (2008 bytes)"`, to: `"…` + cut[3:] + `\",\"2\"] (2008 bytes)"`},
		"other type":  {reason: "both as JSON", want: long, have: int64(1), from: `"\"` + long[:1023] + `… (2002 bytes)"`, to: "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			from, to := show(test.want, test.have)
			if diff := cmp.Diff([2]string{test.from, test.to}, [2]string{string(from), string(to)}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
	from, to := show(strings.Repeat("ä", 2000)+"1", strings.Repeat("ä", 2000)+"2")
	if !utf8.Valid(from) || !utf8.Valid(to) {
		t.Errorf("cut in the middle of a character: %s, %s", from, to)
	}
}
