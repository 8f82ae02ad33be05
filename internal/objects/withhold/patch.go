package withhold

import "github.com/crossfade-dev/crossfade/internal/objects/field"

// mergePatch is what makes to out of from (RFC 7386); empty when they are equal.
func mergePatch(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range from {
		if _, there := to[key]; !there {
			patch[key] = nil
		}
	}
	for key, value := range to {
		was, there := from[key]
		inner, isMap := value.(map[string]any)
		before, wasMap := was.(map[string]any)
		switch {
		case there && field.Equal(was, value):
		case there && isMap && wasMap:
			patch[key] = mergePatch(before, inner)
		default:
			patch[key] = value
		}
	}
	return patch
}
