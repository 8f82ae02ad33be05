// Command bundle builds the programs of the bundles under bundle/ into a cache outside the checkout, and links them into bin/:
//
//	go run ./internal/tools/bundle lab engine edge
//
// The cache of a bundle is named by the hash of everything that goes into it, so a bundle is built once, whatever the number
// of checkouts. With everything built it takes a few milliseconds.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	finder "github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run builds and links the named bundles, all that exist in the checkout when none is named.
func run(ctx context.Context, names []string, talk io.Writer) error {
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("cannot tell the working directory: %w", err)
	}
	root := finder.Root(wd)
	if root == "" {
		return fmt.Errorf("cannot build bundles: %s is not in a checkout of %s", wd, finder.Module)
	}
	cache, err := os.UserCacheDir() // $XDG_CACHE_HOME, or .cache in the home directory
	if err != nil {
		return fmt.Errorf("cannot tell where to cache the bundles: %w", err)
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	f, isFile := talk.(*os.File)
	b := builder{root: root, cache: filepath.Join(cache, "crossfade", "bundles"), talk: talk, terminal: isFile && term.IsTerminal(int(f.Fd())), goCommand: "go"}
	for _, one := range chosen {
		if err := b.provide(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the named bundles, in the order of the list.
func choose(names []string) ([]bundle, error) {
	all := bundles()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []bundle
	for _, name := range names {
		i := slices.IndexFunc(all, func(b bundle) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("cannot build the bundle %q: there are %s", name, strings.Join(known(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func known(all []bundle) []string {
	var names []string
	for _, b := range all {
		names = append(names, b.name)
	}
	return names
}

// builder makes bundles available in a checkout.
type builder struct {
	root      string // the checkout
	cache     string // where built bundles are kept
	talk      io.Writer
	terminal  bool // talk is one: the progress line may be drawn again
	goCommand string
}

// provide builds the bundle unless it is in the cache, and links its programs into bin/. Any number of processes may do so at
// once: one builds, the others wait for it.
func (b builder) provide(ctx context.Context, one bundle) error {
	key, err := one.key(b.root)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.cache, one.name+"-"+key)
	if !exists(dir) {
		if err := b.build(ctx, one, dir); err != nil {
			return err
		}
		b.removeUnused(one)
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // for removeUnused; at worst it is built once more
	return link(dir, filepath.Join(b.root, "bin", one.linkDir))
}

func exists(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// build fills dir: in a directory of its own first, which then takes dir's name, so that dir is complete or absent.
func (b builder) build(ctx context.Context, one bundle, dir string) error {
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return fmt.Errorf("cannot make the cache of bundles: %w", err)
	}
	lock, err := process.Lock(ctx, filepath.Join(b.cache, one.name+".lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if exists(dir) { // somebody else built it while we waited
		return nil
	}
	b.removeCutOff(one)
	partial, err := os.MkdirTemp(b.cache, one.name+partialMark)
	if err != nil {
		return fmt.Errorf("cannot make the cache of bundles: %w", err)
	}
	defer os.RemoveAll(partial)
	started := time.Now()
	fmt.Fprintf(b.talk, "building the %s bundle: %s; %s, once\n", one.name, one.what, one.takes)
	var cpu time.Duration
	for _, m := range one.modules {
		used, err := b.compile(ctx, one, m, partial)
		if err != nil {
			return err
		}
		cpu += used
	}
	if err := one.writeVersion(b.root, partial); err != nil {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("cannot keep the built bundle: %w", err)
	}
	fmt.Fprintf(b.talk, "built the %s bundle in %s (%s of CPU) into %s\n", one.name, round(time.Since(started)), round(cpu), dir)
	return nil
}

const partialMark = ".partial-"

// removeCutOff removes what earlier builds left that were killed. The caller holds the bundle's lock.
func (b builder) removeCutOff(one bundle) {
	left, _ := filepath.Glob(filepath.Join(b.cache, one.name+partialMark+"*"))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

// keptFor is how long a built bundle stays that no checkout has asked for. Clusters that were made with it run its programs.
const keptFor = 30 * 24 * time.Hour

// removeUnused removes other builds of the bundle that nobody has asked for in a long time.
func (b builder) removeUnused(one bundle) {
	builds, _ := filepath.Glob(filepath.Join(b.cache, one.name+"-*"))
	for _, dir := range builds {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > keptFor {
			os.RemoveAll(dir)
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Second) }
