package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// widths are how many writes at once are tried when objects are written straight; the best counts.
var widths = []int{8, 16, 32, 64}

// pairs is how often a copy and straight writes are timed in turn.
const pairs = 5

// The most memory that a copy may have, in bytes, and how much more for ten times the objects.
const (
	mostMemory = 500e6
	mostGrowth = 1.5
)

// copying measures a copy of so many objects, and following.
func copying(size int) func(context.Context) ([]number, error) {
	return func(ctx context.Context) ([]number, error) {
		l, err := newLab(ctx, size, crowd.Of(size))
		if err != nil {
			return nil, err
		}
		defer l.close()
		first, err := l.copyFresh(ctx)
		if err != nil {
			return nil, err
		}
		second, err := l.copy(ctx)
		if err != nil {
			return nil, err
		}
		dump, err := l.dump(ctx)
		if err != nil {
			return nil, err
		}
		numbers := []number{again(first, second), memory(size, first)}
		for _, measure := range []func(context.Context, string) ([]number, error){l.throughput, l.following} {
			more, err := measure(ctx, dump)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, more...)
		}
		return numbers, nil
	}
}

// again is about a second copy, which has nothing to do.
func again(first, second part.Result) number {
	return number{
		What: "writes of a second copy", Ours: fmt.Sprintf("%d, %s", second.Written, show(second.Took)), Theirs: "the first: " + show(first.Took),
		Ratio: float64(second.Took) / float64(first.Took), Hold: "0 writes", Holds: second.Written == 0 && second.There == first.Written,
	}
}

func memory(size int, r part.Result) number {
	return number{
		What: fmt.Sprintf("memory for %d objects", size), Ours: megabytes(r.PeakRSS), Theirs: megabytes(mostMemory),
		Ratio: float64(r.PeakRSS) / mostMemory, Hold: "<= 1", Holds: float64(r.PeakRSS) <= mostMemory,
	}
}

func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", bytes/1e6) }

// throughput measures copies in turn with straight writes of the same objects, at the best of the widths, and with kubectl.
func (l *lab) throughput(ctx context.Context, dump string) ([]number, error) {
	best, err := l.best(ctx, dump)
	if err != nil {
		return nil, err
	}
	var ours, straight, ratios []float64 // the first two in objects a second
	rate := func(took time.Duration) float64 { return float64(l.size) / took.Seconds() }
	for range pairs {
		c, err := l.copyFresh(ctx)
		if err != nil {
			return nil, err
		}
		w, err := l.write(ctx, dump, best)
		if err != nil {
			return nil, err
		}
		ours, straight, ratios = append(ours, rate(c.Took)), append(straight, rate(w.Took)), append(ratios, float64(w.Took)/float64(c.Took))
	}
	took, err := l.kubectl(ctx, dump)
	if err != nil {
		return nil, err
	}
	copied := fmt.Sprintf("%.0f/s", median(ours))
	return []number{
		{
			What: fmt.Sprintf("%d objects copied", l.size), Ours: copied, Theirs: fmt.Sprintf("straight writes, %d at once: %.0f/s", best, median(straight)),
			Ratio: median(ratios), Hold: ">= 0.85", Holds: median(ratios) >= 0.85,
		},
		{
			What: "the same", Ours: copied, Theirs: fmt.Sprintf("kubectl apply --server-side: %.0f/s", rate(took)),
			Ratio: median(ours) / rate(took), Hold: ">= 5", Holds: median(ours) >= 5*rate(took),
		},
	}, nil
}

// median is the middle one of the values, whose order it changes.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// best finds out how many straight writes at once are the fastest.
func (l *lab) best(ctx context.Context, dump string) (int, error) {
	best, least := 0, time.Duration(0)
	for _, width := range widths {
		r, err := l.write(ctx, dump, width)
		if err != nil {
			return 0, err
		}
		if best == 0 || r.Took < least {
			best, least = width, r.Took
		}
	}
	return best, nil
}

// growing measures the memory of copying a tenth of the objects, and of all.
func growing(size int) func(context.Context) ([]number, error) {
	return func(ctx context.Context) ([]number, error) {
		few, err := once(ctx, size/10)
		if err != nil {
			return nil, err
		}
		many, err := once(ctx, size)
		if err != nil {
			return nil, err
		}
		growth := float64(many[0].PeakRSS) / float64(few[0].PeakRSS)
		return []number{
			memory(size, many[0]),
			{
				What: "the same", Ours: megabytes(many[0].PeakRSS), Theirs: fmt.Sprintf("for %d objects: %s", size/10, megabytes(few[0].PeakRSS)),
				Ratio: growth, Hold: fmt.Sprintf("<= %.1f", mostGrowth), Holds: growth <= mostGrowth,
			},
			again(many[0], many[1]),
		}, nil
	}
}

// once copies so many objects two times.
func once(ctx context.Context, size int) (copies [2]part.Result, err error) {
	l, err := newLab(ctx, size, crowd.Of(size))
	if err != nil {
		return copies, err
	}
	defer l.close()
	if copies[0], err = l.copyFresh(ctx); err != nil {
		return copies, err
	}
	copies[1], err = l.copy(ctx)
	return copies, err
}
