package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// table is what a list looks like to a person: a header and rows of cells.
type table struct {
	header []string
	rows   [][]string
}

// print writes data to standard output in the format asked for; as a table it is drawn by draw.
func (a *app) print(data any, draw func() table) error {
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(data)
	case "yaml":
		raw, err := yaml.Marshal(data)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(raw)
		return err
	}
	t := draw()
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.header, "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}
