package spec

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

// maxFile bounds a file of configuration, in bytes. One that is larger is something else by mistake.
const maxFile = 4 << 20

// parse splits a file into the root nodes of its YAML documents; empty documents are left out. The documents before one
// that does not parse are returned along with the problem.
func parse(file string, raw []byte) ([]*yaml.Node, *Problem) {
	if len(raw) > maxFile {
		return nil, &Problem{File: file, Message: fmt.Sprintf("is larger than %d MiB; configuration is not", maxFile>>20)}
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
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

var yamlPlace = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxProblem translates what the YAML parser says, which names a line in its text and knows nothing of tabs.
func syntaxProblem(file string, raw []byte, err error) *Problem {
	text := strings.Join(strings.Fields(err.Error()), " ")
	problem := &Problem{File: file}
	if m := yamlPlace.FindStringSubmatch(text); m != nil {
		problem.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	problem.Message = "is not YAML: " + text
	if line := tabLine(raw); strings.Contains(text, "cannot start any token") && line > 0 {
		problem.Line = line
		problem.Message = "is not YAML: a tab in the indentation; indent with spaces"
	}
	return problem
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
