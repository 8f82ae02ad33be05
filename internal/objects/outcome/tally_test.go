package outcome

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// config is a ConfigMap of a name; its name in reports is "ConfigMap shop/NAME".
func config(name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	obj.SetNamespace("shop")
	obj.SetName(name)
	return obj
}

func TestReport(t *testing.T) {
	told := 0
	total := New(false, func(Decision) { told++ })
	part := New(false, nil)
	if err := total.Result().Err(); err != nil || total.Result().Summary() != "0 created, 0 updated, 0 unchanged" {
		t.Errorf("nothing yet: %v, %s", err, total.Result().Summary())
	}
	for i := range 150 {
		part.Add(config(fmt.Sprintf("c-%03d", i)), Conflict, "field .data.a, set by kubectl")
		total.Add(config(fmt.Sprintf("c-%03d", i)), Conflict, "field .data.a, set by kubectl")
	}
	total.Merge(part.Result())
	report := total.Result()
	if fault.CodeOf(report.Err()) != fault.Failed || !strings.HasPrefix(report.Err().Error(), "300 of 300 objects were changed in the other cluster and left so; the first is ConfigMap shop/c-000: field .data.a") {
		t.Errorf("conflicts: %v", report.Err())
	}
	for _, action := range []Action{Create, Create, Update, Delete, Unchanged, Fail} {
		total.Add(config("a"), action, "why")
	}
	total.Skip(config("a"), "because")
	total.Skip(config("b"), "because")
	total.FailKind(kube.Resource{GroupVersionResource: schema.GroupVersionResource{Resource: "secrets"}, Kind: "Secret"}, fault.New(fault.Failed, "cannot list secrets").WithHint("ask for it"))
	for range 3 {
		total.Note("%s", "once")
	}
	report = total.Result()
	want := Report{
		Created: 2, Updated: 1, Deleted: 1, Unchanged: 1, Skipped: map[string]int{"because": 2}, Failed: 2, FailedByKind: map[string]int{"ConfigMap": 1, "Secret": 1},
		Failures: []Problem{{Object: "ConfigMap shop/a", Error: "why"}, {Object: "secrets", Error: "cannot list secrets", Hint: "ask for it"}}, Conflicted: 300, Conflicts: report.Conflicts, Notes: []string{"once"},
	}
	if diff := cmp.Diff(want, report); diff != "" || len(report.Conflicts) != maxProblems {
		t.Errorf("%d conflicts named (-want +got):\n%s", len(report.Conflicts), diff)
	}
	if got := report.Summary(); got != "2 created, 1 updated, 1 unchanged, 1 deleted, 2 not to be copied, 300 in conflict, 2 failed" {
		t.Errorf("summary: %s", got)
	}
	if err := report.Err(); fault.CodeOf(err) != fault.Failed || err.Error() != "cannot copy 2 of 306 objects; the first is ConfigMap shop/a: why" || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if told != 159 {
		t.Errorf("told of %d objects", told)
	}
	if got := New(true, nil).Result().Summary(); got != "would be: 0 created, 0 updated, 0 unchanged" {
		t.Errorf("dry run: %s", got)
	}
}
