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

// Answerer is a Router that can answer requests by itself, whichever generation a host leads to.
type Answerer interface {
	// Answer has it answer a GET of a path of a host with a text, in place of what it answered of that host so before, and returns once
	// that is in force. The host needs no route.
	Answer(ctx context.Context, host, path, text string) error
	// Silence ends that. A host of which it answers nothing so is no error.
	Silence(ctx context.Context, host string) error
}

// Publisher is a Router that can publish TXT records.
type Publisher interface {
	// Publish adds a TXT record at a name, or where its CNAMEs lead, and returns once every authoritative server answers it.
	Publish(ctx context.Context, name, text string) error
	// Withdraw takes it out again. One that is not there is no error.
	Withdraw(ctx context.Context, name, text string) error
}
