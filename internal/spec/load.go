package spec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// Load reads a configuration: the file at path, or every .yaml and .yml file directly in the directory at path, in order of
// name. Files whose name begins with a dot and sub-directories are left alone; manifests and values belong in those. A file
// may hold several documents, all of them ours.
//
// Paths in the result are absolute: those in a document are relative to its file. Every problem is found at once; they are
// returned as Problems, the cause of an error of code Invalid. Load only reads, and may be called any number of times.
func Load(path string) (*Config, error) {
	files, dir, err := configFiles(path)
	if err != nil {
		return nil, err
	}
	l := loader{dir: dir, complete: true}
	for _, file := range files {
		raw, err := readFile(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot read the configuration: %w", err)
		}
		l.add(file, raw)
	}
	cfg := l.config(path)
	if len(l.problems) > 0 {
		return nil, fault.New(fault.Invalid, "cannot use the configuration in %s: %w", path, l.problems.Sorted())
	}
	return cfg, nil
}

// configFiles returns the files to read and the absolute path of the directory they are in.
func configFiles(path string) ([]string, string, error) {
	path = filepath.Clean(path)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration: %w", err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration: there is no %s", path).WithHint("name a file or directory with -f")
	} else if err != nil {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, filepath.Dir(abs), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration: %w", err)
	}
	var files []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration: %s has no .yaml or .yml files", path).
			WithHint("name the directory of the configuration with -f")
	}
	return files, abs, nil
}

// readFile reads as much of a file as parse needs to see that it is too large.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, strict.MaxFile+1))
}

// Problem is one thing that is wrong with a configuration, and where.
type Problem = strict.Problem

// Problems is everything that is wrong with a configuration, in order of file, line and field: the cause of what Load returns.
type Problems = strict.Problems

// document is one document of the configuration.
type document struct {
	*strict.Document
	dir   string // absolute directory of its file
	kind  string // "" while unknown
	value any    // *Platform, *Foundation, *Environment, *Service or *Stack; nil when the kind is unknown
}

// loader collects documents and what is wrong with them.
type loader struct {
	dir      string
	docs     []*document
	problems Problems
	// complete says that every document's kind and name are known, so that a reference to a name nobody has is a mistake in
	// the reference.
	complete bool
}

// add reads the documents of one file.
func (l *loader) add(file string, raw []byte) {
	roots, problem := strict.Parse(file, raw)
	if problem != nil {
		l.problems = append(l.problems, *problem)
		l.complete = false
	}
	if problem == nil && len(roots) == 0 {
		l.problems = append(l.problems, Problem{File: file, Message: "has no documents"})
	}
	dir := l.dir
	if abs, err := filepath.Abs(file); err == nil {
		dir = filepath.Dir(abs)
	}
	for _, root := range roots {
		doc := &document{Document: strict.NewDocument(file, root), dir: dir}
		l.docs = append(l.docs, doc)
		doc.read(root)
		if doc.value == nil || name(doc.value) == "" {
			l.complete = false
		}
	}
}

// read reads a document: its apiVersion and kind first, which say what the rest must look like.
func (d *document) read(root *yaml.Node) {
	if !d.Mapping(root) {
		return
	}
	var version, kind *yaml.Node
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch root.Content[i].Value {
		case "apiVersion":
			version = root.Content[i+1]
		case "kind":
			kind = root.Content[i+1]
		}
	}
	if !d.ours(root, version) {
		return
	}
	if kind == nil {
		d.Report(root.Line, "kind", "is missing; it is one of %s", strict.List(kindNames()))
		return
	}
	i := slices.Index(kindNames(), kind.Value)
	if i < 0 {
		d.Report(kind.Line, "kind", "there is no kind %s, only %s%s", strict.Show(kind.Value), strict.List(kindNames()), strict.Suggest(kind.Value, kindNames()))
		return
	}
	d.kind = kind.Value
	v := reflect.New(kinds()[i])
	d.value = v.Interface()
	d.Decode(root, d.value, shape())
}

// ours reports whether the document has the apiVersion that this program reads.
func (d *document) ours(root, version *yaml.Node) bool {
	switch {
	case version == nil:
		d.Report(root.Line, "apiVersion", "is missing; every document begins with apiVersion: %s", APIVersion)
	case version.Value == APIVersion:
		return true
	case strings.HasPrefix(version.Value, "crossfade.dev/"):
		d.Report(version.Line, "apiVersion", "%s is not known; this program reads %s", strict.Show(version.Value), APIVersion)
	default:
		d.Report(version.Line, "apiVersion", "is %s, not %s; keep manifests in a sub-directory", strict.Quote(version.Value), APIVersion)
	}
	return false
}

// config validates what was read and puts it together. Its result is of use only when no problem was found.
func (l *loader) config(path string) *Config {
	v := validator{docs: l.docs, complete: l.complete}
	v.validate()
	cfg := &Config{Dir: l.dir}
	for _, doc := range l.docs {
		l.problems = append(l.problems, doc.Problems...)
		switch value := doc.value.(type) {
		case *Platform:
			cfg.Platform = *value
		case *Foundation:
			cfg.Foundations = append(cfg.Foundations, *value)
		case *Environment:
			cfg.Environments = append(cfg.Environments, *value)
		case *Service:
			cfg.Services = append(cfg.Services, *value)
		case *Stack:
			cfg.Stacks = append(cfg.Stacks, *value)
		}
	}
	if v.platform == nil && l.complete && len(l.docs) > 0 {
		l.problems = append(l.problems, Problem{File: filepath.Clean(path), Message: "has no document of kind Platform; a configuration has exactly one"})
	}
	return cfg
}

// shape says what the types cannot: the fields that every document begins with, and those of which exactly one is set. The
// loader and the schema both follow it.
func shape() strict.Shape {
	return strict.Shape{
		Envelope: []string{"apiVersion", "kind"},
		Choices: map[string][]string{
			"Router":      {"caddy", "dns", "gateway", "haproxy", "nginx"},
			"DNSRouter":   {"rfc2136", "webhook", "route53", "azure"},
			"TSIG":        {"secretFile", "secretEnv"},
			"Certificate": {"http01", "dns01"},
			"Unit":        {"files", "kustomize", "helm"},
			"ServiceSpec": {"files", "kustomize", "helm"},
			"Front":       {"httpRoute", "nginx"},
			"Route":       {"service", "backend"},
			"Check":       {"http", "command", "job", "parity", "query"},
			"HTTPCheck":   {"url", "route"},
		},
	}
}

// kinds lists the types of documents, in the order in which people read them.
func kinds() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[Platform](), reflect.TypeFor[Foundation](), reflect.TypeFor[Environment](),
		reflect.TypeFor[Service](), reflect.TypeFor[Stack](),
	}
}

func kindNames() []string {
	var result []string
	for _, t := range kinds() {
		result = append(result, t.Name())
	}
	return result
}

// name returns the name of a document's value.
func name(value any) string {
	switch v := value.(type) {
	case *Platform:
		return v.Metadata.Name
	case *Foundation:
		return v.Metadata.Name
	case *Environment:
		return v.Metadata.Name
	case *Service:
		return v.Metadata.Name
	case *Stack:
		return v.Metadata.Name
	}
	panic(fmt.Sprintf("spec: %T is not a kind", value))
}
