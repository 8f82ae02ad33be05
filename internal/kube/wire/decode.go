// Package wire reads and writes objects as JSON the way the Kubernetes API has them: maps, lists, strings, booleans, null, integers as
// int64 and other numbers as float64. A copy of a cluster spends most of its time here, and the JSON packages of Kubernetes read
// everything several times over to find out types that a copy does not ask for.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// as has keys told apart by case, the last of the same name count, and what is no UTF-8 become U+FFFD, as encoding/json has it.
var as = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Decode reads an object.
func Decode(raw []byte) (map[string]any, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), as)
	if dec.PeekKind() == '[' {
		return nil, errors.New("cannot read an object: it is a list")
	}
	value, err := decode(dec)
	if err != nil {
		return nil, fmt.Errorf("cannot read an object: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("cannot read an object: there is text after it")
	}
	obj, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("cannot read an object: it is a JSON value of another kind")
	}
	return obj, nil
}

// decode reads the next value.
func decode(dec *jsontext.Decoder) (any, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '{':
		return object(dec)
	case '[':
		return list(dec)
	case '"':
		return token.String(), nil
	case '0':
		return number(token.String())
	case 't', 'f':
		return token.Bool(), nil
	default:
		return nil, nil
	}
}

func object(dec *jsontext.Decoder) (map[string]any, error) {
	obj := map[string]any{}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := key.String() // before the next token takes its place
		if obj[name], err = decode(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return obj, err
}

func list(dec *jsontext.Decoder) ([]any, error) {
	list := []any{}
	for dec.PeekKind() != ']' {
		value, err := decode(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := dec.ReadToken()
	return list, err
}

// number reads a number: integers stay integers, as long as they fit.
func number(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	return strconv.ParseFloat(text, 64)
}
