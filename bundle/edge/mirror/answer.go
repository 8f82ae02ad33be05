package mirror

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// answer is what is compared of one.
type answer struct {
	status int
	header http.Header
	body   bounded
}

// differs says what another answer has otherwise, in words without the body's values; "" for nothing.
func (a answer) differs(other answer, headers []string) string {
	var found []string
	if a.status != other.status {
		found = append(found, fmt.Sprintf("the status is %d, not %d", other.status, a.status))
	}
	for _, name := range headers {
		if was, is := a.header.Values(name), other.header.Values(name); !slices.Equal(was, is) {
			found = append(found, fmt.Sprintf("the header %s is %s, not %s", http.CanonicalHeaderKey(name), said(is), said(was)))
		}
	}
	if len(found) == 0 {
		found = a.reshaped(other)
	}
	return strings.Join(found, "; ")
}

func said(values []string) string {
	if len(values) == 0 {
		return "missing"
	}
	return fmt.Sprintf("%q", strings.Join(values, ", "))
}

// reshaped compares the shapes of two JSON documents. Of anything else, and of bodies too long to keep, nothing is said.
func (a answer) reshaped(other answer) []string {
	if !a.isJSON() || a.body.long || other.body.long {
		return nil
	}
	was, err := a.shape()
	if err != nil {
		return nil // what users get now is no JSON either
	}
	is, err := other.shape()
	if err != nil {
		return []string{"the body is no JSON"}
	}
	return was.differs(is)
}

func (a answer) isJSON() bool {
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

func (a answer) shape() (shape, error) {
	var body io.Reader = bytes.NewReader(a.body.kept.Bytes())
	if a.header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = io.LimitReader(plain, 16*kept)
	}
	var document any
	if err := json.NewDecoder(body).Decode(&document); err != nil {
		return nil, err
	}
	s := shape{}
	s.add("", document)
	return s, nil
}

// shape is the types of what is in a JSON document, by path: .items[].price has "number". All elements of an array have one path.
type shape map[string]string

func (s shape) add(path string, value any) {
	switch v := value.(type) {
	case nil:
		s.is(path, null)
	case map[string]any:
		s.is(path, "an object")
		for name, field := range v {
			s.add(path+"."+name, field)
		}
	case []any:
		s.is(path, "an array")
		for _, element := range v {
			s.add(path+"[]", element)
		}
	case string:
		s.is(path, "a string")
	case bool:
		s.is(path, "a boolean")
	default:
		s.is(path, "a number")
	}
}

// null is the type of what could be anything.
const null = "null"

func (s shape) is(path, kind string) {
	if before, known := s[path]; known && before != kind {
		switch {
		case before == null:
		case kind == null || strings.Contains(before, kind):
			kind = before
		default:
			both := append(strings.Split(before, " or "), kind)
			slices.Sort(both)
			kind = strings.Join(both, " or ")
		}
	}
	s[path] = kind
}

// mostNamed is how many paths of a document are named.
const mostNamed = 3

// differs names the paths that are otherwise in another shape, the first few.
func (s shape) differs(other shape) []string {
	var found []string
	for _, path := range slices.Sorted(maps.Keys(s)) {
		switch is, there := other[path]; {
		case !there && other.open(path):
		case !there:
			found = append(found, path+" is gone")
		case is != s[path] && is != null && s[path] != null:
			found = append(found, fmt.Sprintf("%s is %s, not %s", name(path), is, s[path]))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(other)) {
		if _, there := s[path]; !there && !s.open(path) {
			found = append(found, path+" is new")
		}
	}
	if more := len(found) - mostNamed; more > 0 {
		found = append(found[:mostNamed], fmt.Sprintf("%d more", more))
	}
	return found
}

func name(path string) string {
	if path == "" {
		return "the body"
	}
	return path
}

// open reports whether a path that is not there says nothing: it is below an empty array, a null, or something that is not there itself, which
// is named already.
func (s shape) open(path string) bool {
	for above := path; above != ""; {
		if inside, array := strings.CutSuffix(above, "[]"); array {
			above = inside
			if _, there := s[above]; there && !s.has(above+"[]") {
				return true
			}
		} else {
			above = above[:max(0, strings.LastIndex(above, "."))]
		}
		if s[above] == null || above != "" && !s.has(above) {
			return true
		}
	}
	return false
}

func (s shape) has(path string) bool { _, there := s[path]; return there }
