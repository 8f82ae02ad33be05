package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// link makes every file of a built bundle appear in bin, and removes the links to older builds. What stands in bin and is no
// link into a cache of bundles is left alone, except where it is in the way.
func link(built, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("cannot make %s: %w", bin, err)
	}
	entries, err := os.ReadDir(built)
	if err != nil {
		return fmt.Errorf("cannot read the built bundle: %w", err)
	}
	wanted := map[string]bool{}
	for _, e := range entries {
		wanted[e.Name()] = true
		if err := linkOne(filepath.Join(built, e.Name()), filepath.Join(bin, e.Name())); err != nil {
			return fmt.Errorf("cannot link %s: %w", e.Name(), err)
		}
	}
	return unlinkOthers(built, bin, wanted)
}

// linkOne makes name a link to target, in one step even when it was something else before.
func linkOne(target, name string) error {
	if now, err := os.Readlink(name); err == nil && now == target {
		return nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(name), ".link-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, "link")
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

// unlinkOthers removes from bin the links to other builds of the same bundle.
func unlinkOthers(built, bin string, wanted map[string]bool) error {
	bundleOf := func(dir string) string { return dir[:strings.LastIndex(dir, "-")+1] }
	entries, err := os.ReadDir(bin)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", bin, err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(bin, e.Name()))
		if err != nil || wanted[e.Name()] || bundleOf(filepath.Dir(target)) != bundleOf(built) {
			continue
		}
		if err := os.Remove(filepath.Join(bin, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove an old link: %w", err)
		}
	}
	return nil
}
