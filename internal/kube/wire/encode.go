package wire

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// written has the same object always be the same text, and nothing be null that is only empty in Go.
var written = json.JoinOptions(as, json.Deterministic(true), json.FormatNilMapAsNull(true), json.FormatNilSliceAsNull(true))

// Encode writes an object with its keys in order. Characters that JSON leaves as they are and YAML does not allow (YAML 1.2, section
// 5.1) are escaped, which both read: API servers read the body of a server-side apply as YAML. What is no UTF-8 becomes U+FFFD.
func Encode(obj map[string]any) ([]byte, error) {
	raw, err := json.Marshal(obj, written)
	if err != nil || !slices.ContainsFunc(raw, func(c byte) bool { return c >= 0x7f }) { // most are plain
		return raw, err
	}
	escaped := make([]byte, 0, len(raw)+len(raw)/8)
	for len(raw) > 0 {
		char, size := utf8.DecodeRune(raw)
		if unprintable(char) {
			escaped = fmt.Appendf(escaped, `\u%04x`, char)
		} else {
			escaped = append(escaped, raw[:size]...)
		}
		raw = raw[size:]
	}
	return escaped, nil
}

// unprintable are the characters that YAML does not allow or reads as the end of a line, and the byte order mark.
func unprintable(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
