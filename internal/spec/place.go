package spec

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// place is a field of a document: what validation speaks about.
type place struct {
	strict.Place
	doc     *document
	preview bool // whether texts below may speak of a version that the users do not reach yet
}

// in returns a place in a document.
func in(doc *document, path string) place {
	return place{Place: strict.Place{Doc: doc.Document, Path: path}, doc: doc}
}

// to returns the place of a field, an index or a key below.
func (p place) to(next ...any) place {
	p.Place = p.To(next...)
	return p
}

var (
	dnsLabel    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	prefixName  = regexp.MustCompile(`^[a-z][-a-z0-9]*$`)
	objectKind  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`)
	imageName   = regexp.MustCompile(`^([a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)
	httpMethod  = regexp.MustCompile(`^[A-Z]+$`)
	templateUse = regexp.MustCompile(`\{\{-?\s*\.(Environment|Generation|Ingress|Namespace|Preview)\s*-?\}\}`)
	previewUse  = regexp.MustCompile(`\{\{-?\s*\.Preview\s*-?\}\}`)
	tagName     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`) // OCI distribution specification, section 3
)

// maxPrefix bounds what the names of generations begin with: with the 11 characters of time it leaves 12 of a DNS label's 63
// for what is named after a generation, such as its nodes.
const maxPrefix = 40

// label checks a DNS label (RFC 1123 section 2.1), which is what Kubernetes takes for most names. Empty is not its concern.
func (p place) label(text string) {
	switch {
	case text == "":
	case len(text) > 63:
		p.Problem("is %d characters long; a DNS label has at most 63", len(text))
	case !dnsLabel.MatchString(text):
		p.Problem("%s is not a DNS label: lower-case letters, digits and hyphens, with a letter or digit at both ends", strict.Quote(text))
	}
}

// host checks a DNS name without a port.
func (p place) host(text string) {
	if text == "" {
		return
	}
	valid := len(text) <= 253
	for part := range strings.SplitSeq(text, ".") {
		valid = valid && len(part) <= 63 && dnsLabel.MatchString(part)
	}
	if !valid {
		p.Problem("%s is not a host name: lower-case DNS labels joined by dots, without scheme or port", strict.Quote(text))
	}
}

// templated checks that a text uses only templates that are known.
func (p place) templated(text string) {
	if !p.preview && previewUse.MatchString(text) {
		p.Problem("%s uses {{.Preview}}, which only the checks of blueGreen have", strict.Quote(text))
		return
	}
	if strings.Contains(templateUse.ReplaceAllString(text, ""), "{{") {
		known := "{{.Environment}}, {{.Generation}}, {{.Ingress}} and {{.Namespace}}"
		if p.preview {
			known = "{{.Preview}}, " + known
		}
		p.Problem("%s uses a template other than %s", strict.Quote(text), known)
	}
}

// resolve makes a path absolute, and reports one at which nothing of the wanted sort stands.
func (p place) resolve(path *string, sort string, fits func(string, os.FileInfo) bool) {
	if *path == "" {
		return
	}
	if strings.ContainsRune(*path, 0) {
		p.Problem("%s is not a path", strict.Quote(*path))
		return
	}
	written := *path
	if p.absolute(path); !filepath.IsAbs(*path) {
		return
	}
	info, err := os.Stat(*path)
	switch {
	case err != nil:
		p.Problem("there is no %s; paths are relative to the file they are in", written)
	case !fits(*path, info):
		p.Problem("%s is not %s", written, sort)
	}
}

// absolute makes a path that is not empty absolute. A home directory is not the configuration's business, and a directory
// named ~ nobody's wish.
func (p place) absolute(path *string) {
	if strings.HasPrefix(*path, "~") {
		p.Problem("%s begins with ~, which only shells know; write the path out", strict.Quote(*path))
		return
	}
	if *path != "" && !filepath.IsAbs(*path) {
		*path = filepath.Join(p.doc.dir, *path)
	}
}

func isFile(_ string, info os.FileInfo) bool { return info.Mode().IsRegular() }

func isDir(_ string, info os.FileInfo) bool { return info.IsDir() }

func isFileOrDir(_ string, info os.FileInfo) bool { return info.IsDir() || info.Mode().IsRegular() }

func isKustomization(path string, info os.FileInfo) bool {
	return info.IsDir() && anyExists(path, "kustomization.yaml", "kustomization.yml", "Kustomization")
}

func isChart(path string, info os.FileInfo) bool {
	return info.Mode().IsRegular() || info.IsDir() && anyExists(path, "Chart.yaml")
}

func anyExists(dir string, names ...string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// unique reports the second of two things of one name.
type unique map[string]place

func (u unique) add(p place, what, name string) {
	if name == "" {
		return
	}
	if first, ok := u[name]; ok {
		p.Problem("there are two %s %s; the first is at %s", what, strict.Show(name), first.Where())
		return
	}
	u[name] = p
}
