package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// applyBody writes an object as the body of a server-side apply. API servers read that as YAML, which does not allow all the
// characters that JSON does (YAML 1.2, section 5.1): those are written as escapes, which both read.
func applyBody(obj *unstructured.Unstructured) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(obj.Object); err != nil {
		return nil, err
	}
	if !bytes.ContainsFunc(raw.Bytes(), unprintable) {
		return raw.Bytes(), nil
	}
	var escaped bytes.Buffer
	for text := raw.Bytes(); len(text) > 0; {
		r, size := utf8.DecodeRune(text)
		if unprintable(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.Write(text[:size])
		}
		text = text[size:]
	}
	return escaped.Bytes(), nil
}

// unprintable are the characters that JSON leaves as they are and YAML does not allow or reads as the end of a line, and the byte order mark.
func unprintable(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
