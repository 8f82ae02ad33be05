package plan

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Table writes what a person reads before a roll-over: what is live, what will be built and from which versions, what is
// copied, who answers, and every step. Its lines are for eyes; programs take the plan as JSON.
func Table(w io.Writer, p *Plan) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "Roll-over of %s\n\n", p.Environment)
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  build\t%s\t%s\n", p.Generation, describeCluster(p.Cluster))
	fmt.Fprintf(t, "  live\t%s\t%s\n", orNone(p.Previous), weight(p))
	fmt.Fprintf(t, "  standing\t%s\n", joined(p.Premises.Generations, "none"))
	t.Flush()
	units(&text, "PRIME", p.Prime)
	units(&text, "SERVICE", p.Services)
	copying(&text, p.Copy)
	routes(&text, p.Routes)
	certificates(&text, p)
	stepTable(&text, Steps(p))
	fmt.Fprintf(&text, "\n%s\n", p.Hash)
	for line := range strings.Lines(text.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func weight(p *Plan) string {
	if p.Previous == "" {
		return "nothing is live: the new generation gets all users at once"
	}
	if len(p.Routes) == 0 {
		return "by the record: there are no routes"
	}
	return fmt.Sprintf("%d %% of the users", p.Premises.Weights[p.Previous])
}

// rows writes a table with a header, two spaces in.
func rows(w io.Writer, header string, lines []string) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  "+header)
	for _, line := range lines {
		fmt.Fprintln(t, "  "+line)
	}
	t.Flush()
}

func units(w io.Writer, what string, list []Unit) {
	var lines []string
	for _, u := range list {
		lines = append(lines, strings.Join([]string{
			u.Name, dash(u.Version), dash(u.Namespace), strconv.Itoa(len(u.Objects)), strconv.Itoa(len(u.Checks)), dash(strings.Join(u.Needs, ", ")),
		}, "\t"))
	}
	if lines != nil {
		rows(w, what+"\tVERSION\tNAMESPACE\tOBJECTS\tCHECKS\tNEEDS", lines)
	}
}

func copying(w io.Writer, c *Copy) {
	if c == nil {
		return
	}
	var lines []string
	for _, s := range c.Rules.Include {
		lines = append(lines, "include\t"+describeSelector(s))
	}
	if lines == nil {
		lines = []string{"include\teverything"}
	}
	for _, s := range c.Rules.Exclude {
		lines = append(lines, "exclude\t"+describeSelector(s))
	}
	for _, kind := range sortedKeys(c.Rules.Owners) {
		lines = append(lines, "owner\t"+kind+": "+c.Rules.Owners[kind])
	}
	lines = append(lines, "owned\t"+count(len(c.Owned), "object")+" of prime and services, not copied")
	rows(w, "COPY", lines)
}

func describeSelector(s spec.Selector) string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, name+" "+strings.Join(values, " or "))
		}
	}
	add("namespaces", s.Namespaces)
	add("kinds", s.Kinds)
	add("names", s.Names)
	for _, key := range sortedKeys(s.Labels) {
		parts = append(parts, "label "+key+"="+s.Labels[key])
	}
	return strings.Join(parts, ", ")
}

func routes(w io.Writer, list []Route) {
	var lines []string
	for _, r := range list {
		answers := r.Namespace + "/" + r.Service
		if r.Port != "" {
			answers += ":" + r.Port
		}
		lines = append(lines, strings.Join([]string{r.Host, r.PreLive, r.Router.Name, answers, dash(r.Health)}, "\t"))
	}
	if lines != nil {
		rows(w, "ROUTE\tPRE-LIVE\tROUTER\tANSWERED BY\tHEALTH", lines)
	}
}

func certificates(w io.Writer, p *Plan) {
	var lines []string
	for _, c := range p.Certificates {
		lines = append(lines, strings.Join([]string{
			c.Name, strings.Join(c.Names, ", "), c.Secret.Namespace + "/" + c.Secret.Name, dash(p.Premises.Certificates[c.Name]),
		}, "\t"))
	}
	if lines != nil {
		rows(w, "CERTIFICATE\tNAMES\tSECRET\tIN THE BACKUP", lines)
	}
}

func stepTable(w io.Writer, list []Step) {
	var lines []string
	for i, s := range list {
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s", i+1, s.ID, s.Does))
	}
	rows(w, "#\tSTEP\tWHAT IT WILL DO", lines)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
