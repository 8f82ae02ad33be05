package withhold

import (
	"strings"
)

// pointer names a field of an object (RFC 6901), among maps only.
type pointer string

// annotations is where all annotations are.
const annotations pointer = "/metadata/annotations"

// escape and unescape translate between a key and its place in a pointer.
var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1")
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
)

// split parts a pointer into its parent and the last key.
func (p pointer) split() (parent pointer, key string) {
	i := strings.LastIndexByte(string(p), '/')
	return p[:i], unescape.Replace(string(p[i+1:]))
}

// contains reports whether other is the same field or one inside it.
func (p pointer) contains(other pointer) bool {
	return p == other || strings.HasPrefix(string(other), string(p)+"/")
}

// top is the pointer's field of the object's spec, or of whatever else is outermost in it.
func (p pointer) top() pointer {
	parts := strings.SplitN(string(p), "/", 4)
	return pointer(strings.Join(parts[:min(3, len(parts))], "/"))
}

// matches reports whether a pattern is of a field: of the same one, or of every key of a map that begins as the pattern does.
func (p pointer) matches(other pointer) bool {
	prefix, many := strings.CutSuffix(string(p), "*")
	if !many {
		return p == other
	}
	rest, ok := strings.CutPrefix(string(other), prefix)
	return ok && !strings.Contains(rest, "/")
}

// mapAt is the map at a pointer; nil when there is none.
func mapAt(root map[string]any, p pointer) map[string]any {
	if p == "" {
		return root
	}
	parent, key := p.split()
	inner, _ := mapAt(root, parent)[key].(map[string]any)
	return inner
}

// get returns the value at a pointer.
func get(root map[string]any, p pointer) (value any, found bool) {
	parent, key := p.split()
	value, found = mapAt(root, parent)[key]
	return value, found && value != nil
}

// remove takes the value at a pointer away.
func remove(root map[string]any, p pointer) {
	parent, key := p.split()
	delete(mapAt(root, parent), key)
}

// put sets the value at a pointer. Maps on the way that are missing are made, from the one at makes on. It returns the outermost field
// that it made, which is p unless it made maps; "" when it cannot, as there is nothing that it could be put into.
func put(root map[string]any, p, makes pointer, value any) (made pointer) {
	parent, key := p.split()
	made = p
	if mapAt(root, parent) == nil {
		_, inTheWay := get(root, parent)
		if inTheWay || parent != annotations && !makes.contains(parent) {
			return ""
		}
		if outer := put(root, parent, makes, map[string]any{}); parent != annotations {
			made = outer
		}
		if made == "" {
			return ""
		}
	}
	mapAt(root, parent)[key] = value
	return made
}
