// Package wire reads and writes objects as JSON the way the Kubernetes API has them: maps, lists, strings, booleans, null, integers as
// int64 and other numbers as float64. A copy of a cluster spends most of its time here, and the libraries read everything several
// times over to find out types that a copy does not ask for.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// deepest is how many maps and lists may be in each other; the API server allows about as many.
const deepest = 10000

// Decode reads an object. Keys are told apart by case, and the last of the same name counts. What is no UTF-8 becomes U+FFFD.
func Decode(raw []byte) (map[string]any, error) {
	r := &reader{data: raw}
	value, err := r.value(0)
	if err == nil {
		if r.space(); r.at < len(r.data) {
			err = r.wrong("the end")
		}
	}
	if err != nil {
		return nil, err
	}
	obj, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("cannot read an object: it is a JSON value of another kind")
	}
	return obj, nil
}

// reader reads one text.
type reader struct {
	data  []byte
	at    int
	known [256]string // short texts, by their hash: the same keys come up again and again
}

func (r *reader) wrong(want string) error {
	return fmt.Errorf("cannot read JSON: %s was expected at byte %d of %d", want, r.at, len(r.data))
}

func (r *reader) space() {
	for r.at < len(r.data) {
		switch r.data[r.at] {
		case ' ', '\n', '\t', '\r':
			r.at++
		default:
			return
		}
	}
}

// next skips white space and returns the byte after it, 0 at the end.
func (r *reader) next() byte {
	if r.at < len(r.data) && r.data[r.at] > ' ' {
		return r.data[r.at]
	}
	r.space()
	if r.at == len(r.data) {
		return 0
	}
	return r.data[r.at]
}

func (r *reader) value(depth int) (any, error) {
	switch c := r.next(); c {
	case '{':
		return r.object(depth)
	case '[':
		return r.list(depth)
	case '"':
		return r.text()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	default:
		return r.number()
	}
}

func (r *reader) word(word string) error {
	if !bytes.HasPrefix(r.data[r.at:], []byte(word)) {
		return r.wrong(word)
	}
	r.at += len(word)
	return nil
}

func (r *reader) object(depth int) (map[string]any, error) {
	obj := map[string]any{}
	err := r.items('}', depth, func() error {
		key, err := r.key()
		if err != nil {
			return err
		}
		obj[key], err = r.value(depth + 1)
		return err
	})
	return obj, err
}

// key reads the name of a field, and the colon after it.
func (r *reader) key() (string, error) {
	if r.next() != '"' {
		return "", r.wrong("a name")
	}
	key, err := r.text()
	if err != nil {
		return "", err
	}
	return key, r.colon()
}

func (r *reader) colon() error {
	if r.next() != ':' {
		return r.wrong("a colon")
	}
	r.at++
	return nil
}

func (r *reader) list(depth int) ([]any, error) {
	list := []any{}
	err := r.items(']', depth, func() error {
		value, err := r.value(depth + 1)
		list = append(list, value)
		return err
	})
	return list, err
}

// items reads what is between the bracket that the reader is at and the closing one.
func (r *reader) items(end byte, depth int, item func() error) error {
	if depth == deepest {
		return fmt.Errorf("cannot read JSON: more than %d values are in each other", deepest)
	}
	r.at++
	if r.next() == end {
		r.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch r.next() {
		case ',':
			r.at++
		case end:
			r.at++
			return nil
		default:
			return r.wrong("a comma or " + string(end))
		}
	}
}

// number reads a number as RFC 8259 section 6 has it.
func (r *reader) number() (any, error) {
	start := r.at
	r.one('-')
	whole := r.at
	if digits := r.digits(); digits == 0 || digits > 1 && r.data[whole] == '0' {
		r.at = start
		return nil, r.wrong("a value")
	}
	integer := true
	if r.one('.') {
		if integer = false; r.digits() == 0 {
			return nil, r.wrong("a digit")
		}
	}
	if r.one('e') || r.one('E') {
		if integer = false; !r.one('+') {
			r.one('-')
		}
		if r.digits() == 0 {
			return nil, r.wrong("a digit")
		}
	}
	text := string(r.data[start:r.at])
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	return strconv.ParseFloat(text, 64)
}

// one reads a byte if it is there.
func (r *reader) one(c byte) bool {
	if r.at == len(r.data) || r.data[r.at] != c {
		return false
	}
	r.at++
	return true
}

func (r *reader) digits() int {
	start := r.at
	for r.at < len(r.data) && r.data[r.at] >= '0' && r.data[r.at] <= '9' {
		r.at++
	}
	return r.at - start
}

// text reads a string.
func (r *reader) text() (string, error) {
	raw, plain, err := r.quoted()
	switch {
	case err != nil:
		return "", err
	case plain:
		return r.short(raw), nil
	}
	return r.unquote(raw)
}

// quoted reads what is between quotation marks; it is plain when every byte of it stands for itself.
func (r *reader) quoted() (raw []byte, plain bool, err error) {
	r.at++
	start := r.at
	plain = true
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c == '"':
			raw = r.data[start:r.at]
			r.at++
			return raw, plain, nil
		case c == '\\':
			plain = false
			r.at++ // the next one is not the end
		case c < ' ':
			return nil, false, r.wrong("no control character")
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return nil, false, r.wrong("a quotation mark")
}

// short is the text, the same one for texts that are the same, if it is short.
func (r *reader) short(raw []byte) string {
	if len(raw) > 32 || len(raw) == 0 {
		return string(raw)
	}
	hash := uint32(len(raw))
	for _, c := range raw {
		hash = hash*31 + uint32(c)
	}
	known := &r.known[(hash^hash>>8)%uint32(len(r.known))]
	if *known != string(raw) {
		*known = string(raw)
	}
	return *known
}

// escapes are what follows a backslash, but for u.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote resolves escapes.
func (r *reader) unquote(raw []byte) (string, error) {
	text := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		c := raw[0]
		switch {
		case c == '\\' && raw[1] == 'u': // text has seen to it that something follows
			char, size, ok := unicodeOf(raw)
			if !ok {
				return "", r.wrong("a valid escape before the text's end")
			}
			text, raw = utf8.AppendRune(text, char), raw[size:]
		case c == '\\':
			plain, ok := escapes[raw[1]]
			if !ok {
				return "", r.wrong("a valid escape before the text's end")
			}
			text, raw = append(text, plain), raw[2:]
		case c < utf8.RuneSelf:
			text, raw = append(text, c), raw[1:]
		default:
			char, size := utf8.DecodeRune(raw)
			text, raw = utf8.AppendRune(text, char), raw[size:]
		}
	}
	return string(text), nil
}

// unicodeOf reads \uXXXX, or two of them that stand for one character together (RFC 8259 section 7).
func unicodeOf(raw []byte) (char rune, size int, ok bool) {
	first, ok := hex(raw)
	if !ok {
		return 0, 0, false
	}
	if utf16.IsSurrogate(first) {
		if second, ok := hex(raw[6:]); ok {
			if char := utf16.DecodeRune(first, second); char != utf8.RuneError {
				return char, 12, true
			}
		}
		return utf8.RuneError, 6, true
	}
	return first, 6, true
}

func hex(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 32)
	return rune(n), err == nil && raw[2] != '+' && raw[2] != '-'
}
