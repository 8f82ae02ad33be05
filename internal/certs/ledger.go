package certs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// What a CA grants to one set of names, as Let's Encrypt does (https://letsencrypt.org/docs/rate-limits/): certificates in a week, and
// orders that fail in an hour.
const (
	maxIssued = 5
	maxFailed = 5
	week      = 7 * 24 * time.Hour
)

// ledger is what was requested, by whatever process. It has no secrets, and is kept in the clear.
type ledger struct {
	Entries []entry              `json:"entries"`         // of the last week
	Later   map[string]time.Time `json:"later,omitempty"` // by issuer and names: when the CA may be asked again
}

// entry is a certificate that was requested, or a request that failed.
type entry struct {
	Of     string    `json:"of"`    // the issuer and the names
	Order  string    `json:"order"` // its URL
	At     time.Time `json:"at"`
	Failed bool      `json:"failed,omitempty"`
}

// account names what limits are counted by.
func account(directory string, names []string) string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return directory + " " + strings.Join(slices.Compact(sorted), ",")
}

// ledger reads what was requested. The caller holds the lock where it writes as well.
func (b *Backup) ledger() (*ledger, error) {
	l := &ledger{}
	raw, err := os.ReadFile(b.state("requests.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, l)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read what was requested, %s: %w", b.state("requests.json"), err).
			WithHint("remove the file if no more than 4 certificates were requested this week")
	}
	return l, nil
}

// note changes the ledger, and forgets what is older than a week.
func (b *Backup) note(now time.Time, change func(*ledger)) error {
	l, err := b.ledger()
	if err != nil {
		return err
	}
	change(l)
	l.Entries = slices.DeleteFunc(l.Entries, func(e entry) bool { return now.Sub(e.At) > week })
	for of, at := range l.Later {
		if now.After(at) {
			delete(l.Later, of)
		}
	}
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return b.failure("write to", err)
	}
	return b.write(b.state("requests.json"), raw)
}

// noteOrder records that a certificate is requested by an order, or that the order failed; once, whatever process comes to it.
func (b *Backup) noteOrder(of, order string, failed bool, now time.Time) error {
	return b.note(now, func(l *ledger) {
		i := slices.IndexFunc(l.Entries, func(e entry) bool { return e.Order == order })
		if i < 0 {
			l.Entries = append(l.Entries, entry{Of: of, Order: order, At: now})
			i = len(l.Entries) - 1
		}
		l.Entries[i].Failed = failed
	})
}

// noteLater records when a CA may be asked again.
func (b *Backup) noteLater(of string, at, now time.Time) error {
	return b.note(now, func(l *ledger) {
		if l.Later == nil {
			l.Later = map[string]time.Time{}
		}
		l.Later[of] = at
	})
}

// allows refuses what the CA would refuse, before it is asked.
func (l *ledger) allows(of string, names []string, now time.Time) error {
	if at, told := l.Later[of]; told && now.Before(at) {
		return fault.New(fault.Failed, "cannot request a certificate for %s before %s: the CA said so", strings.Join(names, ", "), date(at)).
			WithHint("try again then; nothing was asked of it now")
	}
	for _, limit := range []struct {
		failed bool
		most   int
		within time.Duration
		what   string
	}{
		{false, maxIssued, week, "certificates were requested for the same names within a week"},
		{true, maxFailed, time.Hour, "requests for the same names failed within an hour"},
	} {
		var at []time.Time
		for _, e := range l.Entries {
			if e.Of == of && e.Failed == limit.failed && now.Sub(e.At) < limit.within {
				at = append(at, e.At)
			}
		}
		if len(at) >= limit.most {
			slices.SortFunc(at, time.Time.Compare)
			again := at[len(at)-limit.most].Add(limit.within)
			return fault.New(fault.Failed, "cannot request a certificate for %s before %s: %d %s, and a CA grants no more",
				strings.Join(names, ", "), date(again), len(at), limit.what).
				WithHint("see why those were not kept: the backup and its key; nothing was asked of the CA now")
		}
	}
	return nil
}
