package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/objects/diff"
)

// Comparison shows what is not the same in two clusters.
func (o *Output) Comparison(r diff.Report) error {
	if o.Format != AsTable {
		return o.Print(r, nil)
	}
	w := &strings.Builder{}
	fmt.Fprintln(w, plain(r.Summary()))
	differences(w, r)
	exceptions(w, r)
	if len(r.NotCopied) > 0 {
		fmt.Fprintln(w, "\nnot compared, as a copy leaves them out:")
		for _, reason := range slices.Sorted(maps.Keys(r.NotCopied)) {
			fmt.Fprintf(w, "%7d  %s\n", r.NotCopied[reason], reason)
		}
	}
	if len(r.Trouble) > 0 {
		fmt.Fprintln(w, "\nnot compared, as they cannot be read:")
		for _, t := range r.Trouble {
			fmt.Fprintf(w, "  %s%s: %s\n", plain(t.Kind), inCluster(t.Cluster), plain(t.Error))
		}
	}
	_, err := io.WriteString(o.Data, w.String())
	return err
}

func inCluster(name string) string {
	if name == "" {
		return ""
	}
	return " in " + plain(name)
}

// causes are what people read above the objects of each cause; FROM and TO stand for the clusters.
var causes = map[diff.Cause]string{
	diff.Missing:  "missing in TO; a copy would create them",
	diff.Unserved: "of kinds that TO does not serve",
	diff.Behind:   "changed in FROM since they were copied; a copy would update them",
	diff.Changed:  "changed in TO since they were copied",
	diff.Differs:  "made in both clusters, and not the same",
	diff.Leftover: "copied to TO, and gone from FROM since; a copy would delete them",
	diff.Extra:    "only in TO, where somebody has made them",
}

// differences lists the objects by cause.
func differences(w io.Writer, r diff.Report) {
	names := strings.NewReplacer("FROM", plain(r.From), "TO", plain(r.To))
	last := diff.Cause("")
	for _, d := range r.Differences {
		if d.Cause != last {
			fmt.Fprintf(w, "\n%s:\n", names.Replace(causes[d.Cause]))
			last = d.Cause
		}
		fmt.Fprintf(w, "  %s%s%s\n", plain(d.Object), by(d.By), remarkOf(d.Reason))
		fields(w, d.Fields, d.More)
	}
	if r.More > 0 {
		fmt.Fprintf(w, "\nand %d objects more\n", r.More)
	}
}

// exceptions lists what is declared to differ, by reason.
func exceptions(w io.Writer, r diff.Report) {
	last := ""
	for i, e := range r.Exceptions {
		if i == 0 {
			fmt.Fprintln(w, "\ndeclared to differ:")
		}
		if e.Reason != last {
			fmt.Fprintf(w, "  %s\n", plain(e.Reason))
			last = e.Reason
		}
		fmt.Fprintf(w, "    %s\n", plain(e.Object))
		fields(w, e.Fields, e.More)
	}
}

func by(managers []string) string {
	if len(managers) == 0 {
		return ""
	}
	return ", by " + plain(strings.Join(managers, ", "))
}

func remarkOf(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + plain(reason) + ")"
}

// fields lists fields with their values: - is the first cluster's, + the second's.
func fields(w io.Writer, all []diff.Field, more int) {
	for _, f := range all {
		fmt.Fprintf(w, "      %s%s\n", plain(f.Path), by(f.By))
		if f.Secret {
			fmt.Fprintln(w, "        differs; what is in a Secret is not shown")
			continue
		}
		from, to := near(plain(string(f.From)), plain(string(f.To)))
		for _, line := range [][2]string{{"-", from}, {"+", to}} {
			if line[1] != "" {
				fmt.Fprintf(w, "        %s %s\n", line[0], line[1])
			}
		}
	}
	if more > 0 {
		fmt.Fprintf(w, "      and %d fields more\n", more)
	}
}

// near cuts two long texts to where they begin to differ.
func near(a, b string) (one, two string) {
	const most, before = 160, 40
	x, y := []rune(a), []rune(b)
	at := 0
	for at < min(len(x), len(y)) && x[at] == y[at] {
		at++
	}
	begin := 0
	if max(len(x), len(y)) > most {
		begin = max(0, at-before)
	}
	cut := func(text []rune) string {
		if begin > 0 && len(text) > 0 {
			text = append([]rune("…"), text[min(begin, len(text)):]...)
		}
		return shorten(string(text), most)
	}
	return cut(x), cut(y)
}
