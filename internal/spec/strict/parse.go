package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFile bounds a file of configuration, in bytes. One that is larger is something else by mistake.
const MaxFile = 4 << 20

// Parse splits a file into the root nodes of its YAML documents; empty documents are left out. The documents before one
// that does not parse are returned along with the problem.
func Parse(file string, raw []byte) ([]*yaml.Node, *Problem) {
	if len(raw) > MaxFile {
		return nil, &Problem{File: file, Message: fmt.Sprintf("is larger than %d MiB; configuration is not", MaxFile>>20)}
	}
	if at := firstInvalid(raw); at >= 0 {
		return nil, &Problem{File: file, Line: 1 + bytes.Count(raw[:at], []byte("\n")), Message: "is not UTF-8 text"}
	}
	var roots []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return roots, syntaxProblem(file, raw, err)
		}
		if len(node.Content) == 1 && node.Content[0].ShortTag() != "!!null" {
			roots = append(roots, node.Content[0])
		}
	}
}

// firstInvalid returns the offset of the first byte that is not UTF-8, or -1.
func firstInvalid(raw []byte) int {
	for at := 0; at < len(raw); {
		r, size := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

var (
	yamlPlace  = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	yamlParser = regexp.MustCompile(`^did not find expected (<|node content|key$|'-' indicator|',' or)|^found (duplicate %|incompatible YAML|undefined tag)`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '([^']*)' referenced`)
)

// syntaxProblem translates what the YAML library says. Its parser counts lines from 0 (its scanner from 1) and one past the
// last; it names none for an unknown anchor, and knows nothing of tabs.
func syntaxProblem(file string, raw []byte, err error) *Problem {
	text := strings.Join(strings.Fields(err.Error()), " ")
	line := 0
	if m := yamlPlace.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if line == 0 || yamlParser.MatchString(text) {
		line++
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		line = 1 + bytes.Count(raw[:max(0, bytes.Index(raw, []byte("*"+m[1])))], []byte("\n"))
	}
	if tab := tabLine(raw); tab > 0 && strings.Contains(text, "cannot start any token") {
		line, text = tab, "a tab in the indentation; indent with spaces"
	}
	line = min(line, 1+bytes.Count(bytes.TrimRight(raw, "\r\n"), []byte("\n")))
	return &Problem{File: file, Line: line, Message: "is not YAML: " + text}
}

// tabLine returns the number of the first line that has a tab in its indentation, or 0.
func tabLine(raw []byte) int {
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
			return i + 1
		}
	}
	return 0
}
