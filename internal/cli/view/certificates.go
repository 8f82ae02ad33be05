package view

import (
	"cmp"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Certificates is the table of what a backup has of certificates.
func Certificates(all []step.CertificateState) Table {
	t := Table{Header: []string{"CERTIFICATE", "NAMES", "SECRET", "EXPIRES", "RENEWED FROM", "STATE", "FILE"}}
	for _, c := range all {
		t.Rows = append(t.Rows, []string{
			c.Name, strings.Join(c.Names, ", "), c.Secret, when(c.NotAfter), when(c.Renewal), cmp.Or(c.Due, "good"), c.File,
		})
	}
	return t
}

// when is a time for people; a dash for none.
func when(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.Local().Format(time.DateTime)
}
