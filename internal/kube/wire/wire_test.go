package wire_test

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/kube/wire"
)

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		reason, text string
		want         map[string]any
		fails        bool
	}{
		"numbers": {
			reason: "Integers stay integers, as long as they fit.",
			text:   `{"a":1,"b":-9223372036854775808,"c":1.5,"d":1e3,"e":9223372036854775808,"f":-0.0}`,
			want:   map[string]any{"a": int64(1), "b": int64(math.MinInt64), "c": 1.5, "d": 1000.0, "e": 9223372036854775808.0, "f": math.Copysign(0, -1)},
		},
		"texts": {
			reason: "Escapes are resolved, pairs of them that are one character, too; half a pair is none.",
			text:   `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude80","b":"größe 🚀","c":"\ud83d x","d":"\ud83d\u0041","e":""}`,
			want:   map[string]any{"a": "\"\\/\b\f\n\r\té🚀", "b": "größe 🚀", "c": "\ufffd x", "d": "\ufffdA", "e": ""},
		},
		"no UTF-8":          {reason: "As encoding/json has it.", text: "{\"a\":\"x\xffy\"}", want: map[string]any{"a": "x\ufffdy"}},
		"everything else":   {text: " {\n\"a\" : [ true , false , null , [ ] , { } ] }\t", want: map[string]any{"a": []any{true, false, nil, []any{}, map[string]any{}}}},
		"same name twice":   {reason: "The last one counts.", text: `{"a":1,"A":2,"a":3}`, want: map[string]any{"a": int64(3), "A": int64(2)}},
		"nothing":           {text: ``, fails: true},
		"cut off":           {text: `{"a":"b`, fails: true},
		"cut off in escape": {text: `{"a":"\`, fails: true},
		"bad escape":        {text: `{"a":"\x"}`, fails: true},
		"bad hex":           {text: `{"a":"\u+123"}`, fails: true},
		"control character": {text: "{\"a\":\"\n\"}", fails: true},
		"leading zero":      {text: `{"a":01}`, fails: true},
		"no digit":          {text: `{"a":1.}`, fails: true},
		"no value":          {text: `{"a":}`, fails: true},
		"no comma":          {text: `{"a":1 "b":2}`, fails: true},
		"trailing comma":    {text: `{"a":1,}`, fails: true},
		"trailing text":     {text: `{} x`, fails: true},
		"no object":         {text: `[1]`, fails: true},
		"too deep":          {reason: "The stack has an end.", text: `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := wire.Decode([]byte(tc.text))
			if diff := cmp.Diff(tc.want, got); diff != "" || (err != nil) != tc.fails {
				t.Errorf("%s\n%v (-want +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	tests := map[string]struct {
		reason string
		obj    map[string]any
		want   string
	}{
		"order":   {"The same object is always the same text.", map[string]any{"b": int64(1), "a": []any{nil, true}, "c": map[string]any{}}, `{"a":[null,true],"b":1,"c":{}}`},
		"escapes": {"What YAML does not allow is escaped.", map[string]any{"a": "\x00\"\\\n\r\t<é🚀\u007f\u0085\u2028\ufeff"}, `{"a":"\u0000\"\\\n\r\t<é🚀\u007f\u0085\u2028\ufeff"}`},
		"numbers": {"Objects made by programs have other integers, too.", map[string]any{"a": 1.5, "b": 3, "c": int32(4)}, `{"a":1.5,"b":3,"c":4}`},
		"nil":     {"As encoding/json has it.", map[string]any{"a": map[string]any(nil), "b": []any(nil)}, `{"a":null,"b":null}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := wire.Encode(tc.obj)
			if err != nil || string(got) != tc.want {
				t.Errorf("%s\nwant %s\ngot  %s, %v", tc.reason, tc.want, got, err)
			}
		})
	}
	if _, err := wire.Encode(map[string]any{"a": math.NaN()}); err == nil {
		t.Error("what JSON cannot say is written")
	}
}

func TestDecodeList(t *testing.T) {
	const core = `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"more"},"items":[{"metadata":{"name":"a"},"data":{"x":"}]\""}},{"metadata":{"name":"b"}}]}`
	const custom = `{"apiVersion":"x/v1","items":[{"apiVersion":"x/v1","kind":"Gift","metadata":{"name":"a"}}],"kind":"GiftList","metadata":{"resourceVersion":"8"}}`
	tests := map[string]struct {
		reason, text      string
		version, next     string
		names             []string
		apiVersion, kind  string
		fails, failsLater bool
	}{
		"built in":    {"Items have no kind of their own.", core, "7", "more", []string{"a", "b"}, "v1", "Secret", false, false},
		"custom":      {"What the list says comes after its items.", custom, "8", "", []string{"a"}, "x/v1", "Gift", false, false},
		"empty":       {"", `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[]}`, "9", "", nil, "", "", false, false},
		"null":        {"An aggregated API may have no list.", `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}`, "", "", nil, "", "", false, false},
		"cut off":     {"Half an answer is none.", core[:150], "", "", nil, "", "", true, false},
		"no list":     {"", `[]`, "", "", nil, "", "", true, false},
		"no objects":  {"", `{"items":[1]}`, "", "", nil, "", "", false, true},
		"bad escapes": {"", `{"items":[{"a":"\x"}]}`, "", "", nil, "", "", true, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := wire.DecodeList([]byte(tc.text))
			if (err != nil) != tc.fails {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if err != nil {
				return
			}
			var names []string
			var later error
			for item, err := range list.Items() {
				if later = err; err != nil {
					break
				}
				obj := unstructured.Unstructured{Object: item}
				names = append(names, obj.GetName())
				if obj.GetAPIVersion() != tc.apiVersion || obj.GetKind() != tc.kind {
					t.Errorf("%s is a %s %s", obj.GetName(), obj.GetAPIVersion(), obj.GetKind())
				}
			}
			if diff := cmp.Diff(tc.names, names); diff != "" || list.Metadata.ResourceVersion != tc.version || list.Metadata.Continue != tc.next || (later != nil) != tc.failsLater {
				t.Errorf("%s version %q, continue %q, %v (-want +got):\n%s", tc.reason, list.Metadata.ResourceVersion, list.Metadata.Continue, later, diff)
			}
			if !tc.failsLater && len(list.Raw) != len(tc.names) {
				t.Errorf("%d items are counted", len(list.Raw))
			}
			for range list.Items() {
				break // ends quietly
			}
		})
	}
}

// TestYAML: whatever text an object holds, a reader of YAML gets it as it is.
func TestYAML(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, text string) {
		raw, err := wire.Encode(map[string]any{"data": map[string]any{"key": text}})
		if err != nil {
			t.Fatalf("%v", err)
		}
		var got map[string]map[string]string
		if err := yaml.Unmarshal(raw, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(text, got["data"]["key"]); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	for _, text := range []string{"a\x7fb", "\u0080\u0085\u009f", "\ufeff", "\uffff", "a\u2028b\u2029c", "😀\t\n\"\\", "<&>", strings.Repeat("é\x7f", 1000)} {
		check(t, text)
	}
	rapid.Check(t, func(r *rapid.T) { check(r, rapid.String().Draw(r, "text")) })
}

// FuzzDecode holds the package against the library that it stands in for: they read the same, and what is written is read again
// as it was, as JSON and as YAML.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-2.5e-3,"x\u00e9\n",null,true,{"b":{}}],"c":"🚀"}`, `{"a":"\ud83d\ude80\ud83d"}`, `{"":""}`, `{"a":1e400}`, "{\"\xff\":\"\xc3\x28\"}", `{"a":-0}`, `{"a":"\u2028\u0085"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]any
		wantErr := utiljson.Unmarshal(raw, &want)
		got, err := wire.Decode(raw)
		if string(raw) == "null" {
			return // no object, and no error to that library
		}
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: want error %v, got %v", raw, wantErr, err)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", raw, diff)
		}
		text, err := wire.Encode(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := wire.Decode(text)
		if err != nil || !sameText(again, text) {
			t.Fatalf("%q, written as %q, is read as %v, %v", raw, text, again, err)
		}
		var plain, ofYAML any
		if json.Unmarshal(text, &plain) != nil || yaml.Unmarshal(text, &ofYAML) != nil && shortKeys(got) {
			t.Fatalf("%q is not JSON, or not YAML", text)
		}
	})
}

// sameText reports whether an object is written as text. Values cannot be compared: a whole number may have been a float64.
func sameText(obj map[string]any, text []byte) bool {
	got, err := wire.Encode(obj)
	positive := strings.ReplaceAll(string(text), "-0", "0") // a float64 may be a negative zero
	return err == nil && strings.ReplaceAll(string(got), "-0", "0") == positive
}

// shortKeys reports whether the keys are short enough for YAML.
func shortKeys(obj map[string]any) bool {
	for key := range maps.Keys(obj) {
		if len(key) > 100 {
			return false
		}
	}
	return true
}
