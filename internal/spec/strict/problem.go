// Package strict reads YAML documents into Go values as strictly as the types allow, keeps where every field stands, and
// collects problems with their places. It knows nothing of what the documents mean.
package strict

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Problem is one thing that is wrong with a configuration, and where.
type Problem struct {
	File    string `json:"file"`            // as reached from the path that was given
	Line    int    `json:"line,omitempty"`  // counted from 1; 0 when it concerns the whole file or directory
	Field   string `json:"field,omitempty"` // for example spec.routes[0].host
	Message string `json:"message"`         // what is wrong and, where there is a likely remedy, what to write
}

// String returns the problem as one line: file:line: field: message.
func (p Problem) String() string {
	text := p.File
	if p.Line > 0 {
		text += ":" + strconv.Itoa(p.Line)
	}
	if p.Field != "" {
		text += ": " + p.Field
	}
	return text + ": " + p.Message
}

// Problems is everything that is wrong with a configuration, in order of file, line and field. Callers
// that show errors print it line by line.
type Problems []Problem

// Error returns the only problem, or the first one and how many there are: one line in either case.
func (p Problems) Error() string {
	switch len(p) {
	case 0:
		return "no problems"
	case 1:
		return p[0].String()
	}
	return fmt.Sprintf("%d problems, the first: %s", len(p), p[0])
}

// Lines returns the problems, one a line.
func (p Problems) Lines() []string {
	lines := make([]string, 0, len(p))
	for _, problem := range p {
		lines = append(lines, problem.String())
	}
	return lines
}

// Summary returns what is left to say of the configuration at path once the lines have been shown.
func (p Problems) Summary(path string) error {
	count := "1 problem"
	if len(p) > 1 {
		count = fmt.Sprintf("%d problems", len(p))
	}
	return fault.New(fault.Invalid, "cannot use the configuration in %s: %s", path, count).
		WithHint("docs/configuration.md has every field, and crossfade schema completes them in editors")
}

// Sorted sorts the problems in place, and returns them.
func (p Problems) Sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
	return p
}

var plain = regexp.MustCompile(`^[\w.-]{1,60}$`)

// Show writes a name from the input into a message: bare when it is a plain word, otherwise quoted and cut to a length that
// leaves the message readable.
func Show(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return Quote(name)
}

// Quote writes a text from the input into a message, in quotes and cut to a readable length.
func Quote(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return strconv.Quote(text)
}

// Suggest returns "; did you mean X?" for the known name nearest to name, and "" when none is near.
func Suggest(name string, known []string) string {
	best, distance := "", min(len(name), 3+len(name)/8, 8)
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the insertions, deletions and replacements that turn a into b (Levenshtein). Names longer than any of
// ours are not near to one, so they are not measured.
func editDistance(a, b string) int {
	const longest = 100
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// List joins words by commas.
func List(words []string) string { return strings.Join(words, ", ") }
