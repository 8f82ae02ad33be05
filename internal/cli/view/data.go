package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// Table is what a list looks like to a person: a header and rows of cells.
type Table struct {
	Header []string
	Rows   [][]string
}

// Print writes data in the format asked for; as a table it is drawn by draw.
func (o *Output) Print(data any, draw func() Table) error {
	switch o.Format {
	case AsJSON:
		enc := json.NewEncoder(o.Data)
		enc.SetIndent("", "  ")
		return enc.Encode(data)
	case AsYAML:
		return o.document(data)
	}
	t := draw()
	w := tabwriter.NewWriter(o.Data, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// document writes one YAML document, set apart from the one before it.
func (o *Output) document(data any) error {
	raw, err := yaml.Marshal(data)
	if err != nil {
		return err
	}
	if o.documents > 0 {
		raw = append([]byte("---\n"), raw...)
	}
	o.documents++
	_, err = o.Data.Write(raw)
	return err
}

// stream writes each event as it comes: a line of JSON, or a YAML document.
type stream struct{ *Output }

// Event writes an event.
func (v *stream) Event(e record.Event) {
	if v.Format == AsYAML {
		_ = v.document(e)
		return
	}
	_ = json.NewEncoder(v.Data).Encode(e)
}

// Close does nothing: every event is written at once.
func (v *stream) Close() {}
