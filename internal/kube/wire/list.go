package wire

import (
	"errors"
	"iter"
	"slices"
	"strings"
)

// List is one page of a list of objects, which are read one at a time.
type List struct {
	Version  string // of the list
	Continue string // where the next page begins, "" on the last one
	Count    int
	kind     map[string]any // what items leave out
	items    []byte
}

// DecodeList reads a page of a list as far as its items, which it only counts.
func DecodeList(raw []byte) (List, error) {
	l := List{kind: map[string]any{}}
	r := &reader{data: raw}
	err := r.fields(0, func(key string) error { return l.field(r, key) })
	return l, err
}

// field reads a field of the list.
func (l *List) field(r *reader, key string) error {
	if key == "items" && r.next() == '[' {
		start := r.at
		err := r.items(']', 1, func() error {
			l.Count++
			return r.skip(2)
		})
		l.items = r.data[start:r.at]
		return err
	}
	value, err := r.value(1)
	if err != nil {
		return err
	}
	switch text, _ := value.(string); key {
	case "kind":
		l.kind["kind"] = strings.TrimSuffix(text, "List")
	case "apiVersion":
		l.kind["apiVersion"] = text
	case "metadata":
		metadata, _ := value.(map[string]any)
		l.Version, _ = metadata["resourceVersion"].(string)
		l.Continue, _ = metadata["continue"].(string)
	}
	return nil
}

// skip passes over a value.
func (r *reader) skip(depth int) error {
	switch r.next() {
	case '{':
		return r.items('}', depth, func() error {
			if r.next() != '"' {
				return r.wrong("a name")
			}
			if _, _, err := r.quoted(); err != nil {
				return err
			}
			if err := r.colon(); err != nil {
				return err
			}
			return r.skip(depth + 1)
		})
	case '[':
		return r.items(']', depth, func() error { return r.skip(depth + 1) })
	case '"':
		_, _, err := r.quoted()
		return err
	}
	_, err := r.value(depth)
	return err
}

// Items yields the objects. Those of Kubernetes' own kinds leave out in a list what they are; it is put in.
func (l List) Items() iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		if l.Count == 0 {
			return
		}
		r := &reader{data: l.items}
		err := r.items(']', 1, func() error {
			value, err := r.value(2)
			if err != nil {
				return err
			}
			obj, ok := value.(map[string]any)
			if !ok {
				return errors.New("cannot read a list: an item is no object")
			}
			for key, text := range l.kind {
				if _, there := obj[key]; !there {
					obj[key] = text
				}
			}
			if !yield(obj, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a reading that nobody wants to go on.
var errStopped = errors.New("stopped")

// identity is what of an object's metadata says which one it is.
var identity = []string{"name", "namespace", "uid", "resourceVersion", "generation"}

// Identity reads an object as far as to tell which one it is, and returns that part of its metadata.
func Identity(raw []byte) (map[string]any, error) {
	r := &reader{data: raw}
	metadata := map[string]any{}
	err := r.fields(0, func(key string) error {
		if key != "metadata" || r.next() != '{' {
			return r.skip(1)
		}
		return r.fields(1, func(key string) (err error) {
			if !slices.Contains(identity, key) {
				return r.skip(2)
			}
			metadata[key], err = r.value(2)
			return err
		})
	})
	return metadata, err
}

// fields reads a map, with a call for each value.
func (r *reader) fields(depth int, field func(key string) error) error {
	if r.next() != '{' {
		return r.wrong("a map")
	}
	return r.items('}', depth, func() error {
		key, err := r.key()
		if err != nil {
			return err
		}
		return field(key)
	})
}
