package view

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

func TestCertificates(t *testing.T) {
	end, renewal := begin.Add(90*24*time.Hour), begin.Add(60*24*time.Hour)
	got := Certificates([]step.CertificateState{
		{Name: "shop", Names: []string{"a.example.com", "b.example.com"}, Secret: "shop/tls", File: "/b/shop.age", NotAfter: &end, Renewal: &renewal},
		{Name: "api", Names: []string{"api.example.com"}, Secret: "shop/api", File: "/b/api.age", Due: "there is none in the backup"},
	})
	want := [][]string{
		{"shop", "a.example.com, b.example.com", "shop/tls", end.Local().Format(time.DateTime), renewal.Local().Format(time.DateTime), "good", "/b/shop.age"},
		{"api", "api.example.com", "shop/api", "-", "-", "there is none in the backup", "/b/api.age"},
	}
	if diff := cmp.Diff(want, got.Rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if len(got.Header) != len(want[0]) {
		t.Errorf("%d columns have the header %v", len(want[0]), got.Header)
	}
}
