package traffic

import "context"

// Locator is a Router whose hosts answer at addresses of their own, so that Entry has nothing to return.
type Locator interface {
	// Locate returns the URL (scheme and address) at which a name of a host's route, its live or its pre-live one, answers now.
	// A name that leads to no side is an error of code fault.Failed.
	Locate(ctx context.Context, host, name string) (string, error)
}

// Cached is a Router that leads users by answers which others keep, so that they may go to a side after it lost its weight, and that
// has no counters to show them.
type Cached interface {
	// Leading names, for people, who may still lead users of a host to a generation that has no weight: nobody when that is over.
	Leading(ctx context.Context, host, generation string) ([]string, error)
}

// Teller is a Router whose Apply may wait for long.
type Teller interface {
	// Tell has it say what it waits for, once for each thing. It is called before the other methods.
	Tell(say func(format string, args ...any))
}
