// Package bundle finds the programs of the bundles: stock programs of others, built from the modules under bundle/, that
// Crossfade runs as processes of their own.
package bundle

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Module is the path of the product's module.
const Module = "github.com/crossfade-dev/crossfade"

// DirVariable names the environment variable with a directory to take the programs from, instead of looking for them.
const DirVariable = "CROSSFADE_BUNDLES"

// Program returns the absolute path of the named program of a bundle, such as "kubelet" or "crossfade-engine". It looks in
// the directory named by $CROSSFADE_BUNDLES if that is set, else beside the running executable, else in the bin directory of
// the checkout that the working directory is in; in each also in its lab directory. The error is of code Invalid.
func Program(name string) (string, error) {
	return find(name, places(os.Getenv(DirVariable), os.Executable, os.Getwd))
}

// Root returns the directory of the checkout that dir is in: the nearest one at or above it with a go.mod of this module, or
// "" when there is none.
func Root(dir string) string {
	for {
		if moduleOf(filepath.Join(dir, "go.mod")) == Module {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		for _, file := range []string{filepath.Join(dir, name), filepath.Join(dir, "lab", name)} {
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return filepath.Abs(file)
			}
		}
	}
	return "", fault.New(fault.Invalid, "cannot find %s of the %s bundle", name, Of(name)).
		WithHint("run `make build` in a checkout, or set %s to the directory with the programs", DirVariable)
}

// Of returns the name of the bundle that a program belongs to.
func Of(program string) string {
	if name, ok := strings.CutPrefix(program, "crossfade-"); ok {
		return name
	}
	return "lab"
}

// places lists the directories to look in, in order. A directory that cannot be told is left out.
func places(override string, executable, workdir func() (string, error)) []string {
	if override != "" {
		return []string{override}
	}
	var dirs []string
	if exe, err := executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append(dirs, filepath.Dir(exe))
	}
	if wd, err := workdir(); err == nil {
		if root := Root(wd); root != "" {
			dirs = append(dirs, filepath.Join(root, "bin"))
		}
	}
	return dirs
}

// moduleOf returns the module path that a go.mod file declares, or "".
func moduleOf(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}
