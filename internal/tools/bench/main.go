// Command bench measures the numbers that Crossfade promises to hold, each against its alternative in the same run, and exits
// with 1 when one falls short. Run it from the top of a checkout after make build.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// number is one promise, measured.
type number struct {
	What   string  `json:"what"`
	Ours   string  `json:"ours"`
	Theirs string  `json:"theirs"` // what it is held against
	Ratio  float64 `json:"ratio"`
	Hold   string  `json:"hold"`
	Holds  bool    `json:"holds"`
}

// bench measures some numbers.
type bench struct {
	name, about string
	measure     func(context.Context) ([]number, error)
}

// benches are all of them, the quick ones first; objects is how many objects are copied.
func benches(objects int) []bench {
	return []bench{
		{"version", "the time that crossfade version takes", version},
		{"size", "the size of the program", size},
		{"edge", "throughput and latency of the edge, against the same program configured by hand (about 5 minutes)", edges},
		{"demo", "the main job: failed requests, latency while shifting, time not spent in steps (about 4 minutes)", mainJob},
		{"deploys", "50 services deployed at once, against kubectl (about 8 minutes)", deploys(50)},
		{"objects", fmt.Sprintf("copying and following %d objects (about 15 minutes for 10000)", objects), each(copying(objects), rival(objects))},
		{"objects-100k", "the memory of copying 100000 objects (about 10 minutes)", growing(100_000)},
		{"build", "building everything from empty caches (about 20 minutes on two cores)", coldBuild},
	}
}

// each takes several measurements, one after the other.
func each(all ...func(context.Context) ([]number, error)) func(context.Context) ([]number, error) {
	return func(ctx context.Context) (numbers []number, err error) {
		for _, measure := range all {
			more, err := measure(ctx)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, more...)
		}
		return numbers, nil
	}
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == part.Argument {
		if err := part.Main(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(2)
		}
		return
	}
	only := flag.String("only", "all", "the bench to run: "+names())
	out := flag.String("out", "bench.json", "where the figures go")
	size := flag.Int("objects", 10_000, "how many objects the bench of that name copies, 100 at least")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, *only, *out, *size)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func names() string {
	list := []string{"all"}
	for _, b := range benches(0) {
		list = append(list, b.name)
	}
	return strings.Join(list, ", ")
}

// run measures what was asked for, prints it, writes it, and reports whether everything holds.
func run(ctx context.Context, only, out string, size int) (bool, error) {
	if size < 100 {
		return false, fmt.Errorf("%d objects are too few", size)
	}
	var all []number
	known := false
	for _, b := range benches(size) {
		if only != "all" && only != b.name {
			continue
		}
		known = true
		fmt.Fprintf(os.Stderr, "measuring %s: %s\n", b.name, b.about)
		numbers, err := b.measure(ctx)
		if err != nil {
			return false, fmt.Errorf("cannot measure %s: %w", b.name, err)
		}
		all = append(all, numbers...)
	}
	if !known {
		return false, fmt.Errorf("there is no bench %q; choose one of %s", only, names())
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(out, append(raw, '\n'), 0o644); err != nil { //nolint:gosec // figures are for everybody
		return false, err
	}
	return print(all), nil
}

// print writes the table and reports whether everything holds.
func print(all []number) bool {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tTHEIRS\tRATIO\tHOLD\tHOLDS")
	ok := true
	for _, n := range all {
		holds := "yes"
		if !n.Holds {
			holds, ok = "NO", false
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3g\t%s\t%s\n", n.What, n.Ours, n.Theirs, n.Ratio, n.Hold, holds)
	}
	_ = w.Flush()
	return ok
}
