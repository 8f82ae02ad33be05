package view

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/objects/diff"
)

// comparison is a report with everything that real ones in the scripts do not have.
func comparison() diff.Report {
	long := strings.Repeat("x", 300)
	return diff.Report{
		From: "blue", To: "gre\x1b[31men", Compared: 9, Different: map[diff.Cause]int{diff.Unserved: 1, diff.Changed: 2, diff.Extra: 3}, More: 3,
		Differences: []diff.Difference{
			{Object: "shop.io/Gift shop/a", Cause: diff.Unserved, Reason: "it is not served"},
			{Object: "ConfigMap shop/b", Cause: diff.Changed, More: 7, Fields: []diff.Field{
				{Path: "data.new", To: json.RawMessage(`"\u001b[31mred"`), By: []string{"kubectl-edit", "helm"}},
				{Path: "data.long", From: json.RawMessage(`"` + long + `1"`), To: json.RawMessage(`"` + long + `2"`)},
				{Path: "data.grown", From: json.RawMessage(`"a"`), To: json.RawMessage(`"a` + long + `"`)},
			}},
			{Object: "Secret shop/c", Cause: diff.Changed, Fields: []diff.Field{{Path: "data.key", Secret: true}}},
		},
		Exceptions: []diff.Exception{
			{Object: "StorageClass fast", Reason: "the other cluster has its own", Fields: []diff.Field{{Path: "provisioner", From: json.RawMessage(`"a"`), To: json.RawMessage(`"b"`)}}},
			{Object: "StorageClass slow", Reason: "the other cluster has its own"},
			{Object: "batch/CronJob shop/nightly", Reason: "withheld until the switch"},
		},
		NotCopied: map[string]int{"belongs to a pipeline": 2, "excluded by the configuration": 10},
		Trouble:   []diff.Trouble{{Kind: "secrets", Cluster: "blue", Error: "cannot list\nsecrets"}, {Kind: "shop.io/v1", Error: "no answer"}},
	}
}

func TestComparison(t *testing.T) {
	o, data, _ := copyOutput(AsTable)
	if err := o.Comparison(comparison()); err != nil {
		t.Fatal(err)
	}
	want := `blue and green differ in 6 of 9 objects: 1 unserved, 2 changed, 3 extra

of kinds that green does not serve:
  shop.io/Gift shop/a (it is not served)

changed in green since they were copied:
  ConfigMap shop/b
      data.new, by kubectl-edit, helm
        + "\u001b[31mred"
      data.long
        - …` + strings.Repeat("x", 40) + `1"
        + …` + strings.Repeat("x", 40) + `2"
      data.grown
        - "a"
        + "a` + strings.Repeat("x", 157) + `…
      and 7 fields more
  Secret shop/c
      data.key
        differs; what is in a Secret is not shown

and 3 objects more

declared to differ:
  the other cluster has its own
    StorageClass fast
      provisioner
        - "a"
        + "b"
    StorageClass slow
  withheld until the switch
    batch/CronJob shop/nightly

not compared, as a copy leaves them out:
      2  belongs to a pipeline
     10  excluded by the configuration

not compared, as they cannot be read:
  secrets in blue: cannot list secrets
  shop.io/v1: no answer
`
	if diff := cmp.Diff(want, data.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestComparisonAsData: what is written can be read back.
func TestComparisonAsData(t *testing.T) {
	for format, parse := range map[Format]func([]byte, any) error{
		AsJSON: json.Unmarshal,
		AsYAML: func(raw []byte, into any) error { return yaml.UnmarshalStrict(raw, into) },
	} {
		o, data, _ := copyOutput(format)
		if err := o.Comparison(comparison()); err != nil {
			t.Fatal(err)
		}
		var got diff.Report
		if err := parse(data.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, data)
		}
		if diff := cmp.Diff(comparison(), got, cmp.Comparer(sameJSON)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// sameJSON compares values however they are written.
func sameJSON(a, b json.RawMessage) bool {
	var one, two any
	_, _ = json.Unmarshal(a, &one), json.Unmarshal(b, &two) // an absent value is none
	return cmp.Equal(one, two)
}
