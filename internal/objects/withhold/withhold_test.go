package withhold

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

func TestWithholdLeavesOthers(t *testing.T) {
	objs := []*unstructured.Unstructured{
		object(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {suspend: false}}`),
		object(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: b}, spec: {suspend: true}}`),
		object(t, `{apiVersion: example.com/v1, kind: CronJob, metadata: {name: c}, spec: {suspend: false}}`),
	}
	before, err := json.Marshal(objs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, obj := range All(objs) {
		got = append(got, obj.GetName()+"="+obj.GetAnnotations()[Annotation])
	}
	if diff := cmp.Diff([]string{"a=cronjob", "b=", "c="}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if after, err := json.Marshal(objs); err != nil || string(after) != string(before) {
		t.Error("the objects passed in were changed")
	}
}
