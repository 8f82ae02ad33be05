package diff

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// shownBytes is how much of a value is shown at most. Longer ones are cut to where they begin to differ.
const shownBytes = 1024

// before is how much is shown before the first difference of long values.
const before = 80

// show writes the values of a field that is different in two objects as JSON; nil for one that is not there.
func show(want, have any) (from, to json.RawMessage) {
	from, to = encode(want), encode(have)
	one, two, ok := texts(want, have)
	if !ok {
		one, two = string(from), string(to)
	}
	at := differAt(one, two)
	return cut(from, one, at), cut(to, two, at)
}

// texts are two values as texts, of which one may not be there.
func texts(want, have any) (one, two string, ok bool) {
	one, first := want.(string)
	two, second := have.(string)
	return one, two, (first || want == nil) && (second || have == nil)
}

func encode(value any) json.RawMessage {
	if value == nil {
		return nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		raw = nil // what came from JSON can be written as JSON
	}
	return raw
}

// differAt is where two texts begin to differ.
func differAt(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// cut is a value, or when it is long the part of its text from a little before a position, with how long the whole is.
func cut(value json.RawMessage, text string, at int) json.RawMessage {
	if len(value) <= shownBytes {
		return value
	}
	begin := runeStart(text, max(0, at-before))
	end := runeStart(text, min(len(text), begin+shownBytes))
	part := text[begin:end]
	if begin > 0 {
		part = "…" + part
	}
	if end < len(text) {
		part += "…"
	}
	return encode(fmt.Sprintf("%s (%d bytes)", part, len(text)))
}

// runeStart is the beginning of the character that a position is in.
func runeStart(text string, at int) int {
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}
