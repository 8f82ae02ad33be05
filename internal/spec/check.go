package spec

import (
	"net/url"
	"path"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/spec/rule"
	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// checks validates a list of checks and makes their paths absolute.
func checks(at place, list []Check) {
	taken := unique{}
	for i := range list {
		c, at := &list[i], at.to(i)
		taken.add(at.to("name"), "checks named", c.Name)
		if c.HTTP != nil {
			at.to("http").httpCheck(c.HTTP)
		}
		if c.Command != nil {
			at.to("command").command(c.Command)
		}
		if c.Job != nil {
			at.to("job", "namespace").label(c.Job.Namespace)
			at.to("job", "manifest").resolve(&c.Job.Manifest, "a file", isFile)
		}
		if c.Parity != nil {
			selectors(at.to("parity", "exclude"), c.Parity.Exclude)
		}
		if c.Query != nil {
			at.to("query").query(c.Query)
		}
	}
}

func (p place) httpCheck(h *HTTPCheck) {
	p.to("url").templated(h.URL)
	p.to("path").templated(h.Path)
	for name, value := range h.Headers {
		p.to("headers", name).templated(value)
		if name == "" || strings.ContainsAny(name, " :\t\r\n") {
			p.to("headers", name).Problem("is not the name of a header")
		}
	}
	p.to("url").webAddress(h.URL)
	if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
		p.to("path").Problem("%s does not begin with /", strict.Quote(h.Path))
	}
	if h.Path != "" && h.URL != "" {
		p.to("path").Problem("goes with route; a url has its own path")
	}
	if h.Method != "" && !httpMethod.MatchString(h.Method) {
		p.to("method").Problem("%s is not a method such as GET", strict.Quote(h.Method))
	}
}

// webAddress checks a URL, in which there may be templates. An empty one is somebody else's matter.
func (p place) webAddress(text string) {
	u, err := url.Parse(templateUse.ReplaceAllString(text, "x"))
	if text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		p.Problem("%s is not an http or https URL", strict.Quote(text))
	}
}

func (p place) query(q *QueryCheck) {
	p.to("url").templated(q.URL)
	p.to("url").webAddress(q.URL)
	p.to("query").templated(q.Query)
	if q.Holds == "" {
		return // which is told already
	}
	if _, err := rule.ParseCondition(q.Holds); err != nil {
		p.to("holds").Problem("%v", err)
	}
}

func (p place) command(c *CommandCheck) {
	if len(c.Args) == 0 {
		p.to("args").Problem("names no program")
	}
	for i, arg := range c.Args {
		p.to("args", i).templated(arg)
	}
	if c.Dir == "" {
		c.Dir = p.doc.dir
	}
	p.to("dir").resolve(&c.Dir, "a directory", isDir)
}

// selectors validates a list of selectors.
func selectors(at place, list []Selector) {
	for i, s := range list {
		at := at.to(i)
		if len(s.Namespaces)+len(s.Kinds)+len(s.Names)+len(s.Labels) == 0 && at.Readable() {
			at.Problem("selects by nothing, which is everything; set namespaces, kinds, names or labels")
		}
		at.to("namespaces").patterns(s.Namespaces)
		at.to("names").patterns(s.Names)
		for i, kind := range s.Kinds {
			at.to("kinds", i).kind(kind)
		}
	}
}

func (p place) patterns(list []string) {
	for i, pattern := range list {
		if _, err := path.Match(pattern, ""); err != nil {
			p.to(i).Problem("%s is not a shell pattern", strict.Quote(pattern))
		}
	}
}

func (p place) kind(text string) {
	if text != "" && !objectKind.MatchString(text) {
		p.Problem("%s is not a kind of objects, such as ConfigMap or Certificate.cert-manager.io", strict.Quote(text))
	}
}
