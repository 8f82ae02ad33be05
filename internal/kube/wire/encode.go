package wire

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode writes an object with its keys in order. Characters that JSON leaves as they are and YAML does not allow (YAML 1.2, section
// 5.1) are escaped, which both read: API servers read the body of a server-side apply as YAML. What is no UTF-8 becomes U+FFFD.
func Encode(obj map[string]any) ([]byte, error) {
	return appendValue(make([]byte, 0, 1024), obj)
}

func appendValue(out []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case map[string]any:
		return appendMap(out, v)
	case []any:
		if v == nil {
			return append(out, "null"...), nil
		}
		return appendList(out, v)
	case string:
		return appendText(out, v), nil
	case int64:
		return strconv.AppendInt(out, v, 10), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case nil:
		return append(out, "null"...), nil
	}
	raw, err := json.Marshal(value) // other numbers
	return append(out, raw...), err
}

func appendMap(out []byte, m map[string]any) (_ []byte, err error) {
	if m == nil {
		return append(out, "null"...), nil
	}
	var few [32]string
	keys := few[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendText(out, key), ':')
		if out, err = appendValue(out, m[key]); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendList(out []byte, list []any) (_ []byte, err error) {
	out = append(out, '[')
	for i, value := range list {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendValue(out, value); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// plain are the bytes that are a character by themselves and need no escape.
var plain = func() (table [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func appendText(out []byte, text string) []byte {
	out = append(out, '"')
	start := 0
	for i := 0; i < len(text); {
		if plain[text[i]] {
			i++
			continue
		}
		out = append(out, text[start:i]...)
		char, size := utf8.DecodeRuneInString(text[i:])
		out = appendChar(out, char, text[i:i+size])
		i += size
		start = i
	}
	return append(append(out, text[start:]...), '"')
}

// appendChar appends a character that may need an escape; raw is what the text has.
func appendChar(out []byte, char rune, raw string) []byte {
	switch {
	case char == '"' || char == '\\':
		return append(out, '\\', byte(char))
	case char == '\n':
		return append(out, '\\', 'n')
	case char == '\r':
		return append(out, '\\', 'r')
	case char == '\t':
		return append(out, '\\', 't')
	case char < ' ' || unprintable(char):
		const digits = "0123456789abcdef"
		return append(out, '\\', 'u', digits[char>>12&15], digits[char>>8&15], digits[char>>4&15], digits[char&15])
	case char == utf8.RuneError:
		return append(out, "\ufffd"...)
	}
	return append(out, raw...)
}

// unprintable are the characters that YAML does not allow or reads as the end of a line, and the byte order mark.
func unprintable(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
