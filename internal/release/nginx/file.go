package nginx

import (
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// file is the content of the file of a service on a node.
type file struct {
	service string
	shares  Shares
	was     []colour.Colour // that users were led to before
	boot    string          // of the machine in which it was written
	tick    uint64          // of that boot at which it was written, in the unit of the start times of processes
}

// The first line of the file is for people, the second one for us. The last one has the sum of all before it.
const (
	note   = "# Written by crossfade at each switch. It stops at a file that somebody has changed: settings of your own belong into others.\n"
	header = "# service=%s blue=%d green=%d was=%s boot=%s tick=%d\n"
	footer = "# sha256=%x\n"
)

// render writes the file for a node.
func (u *Upstream) render(n Node, f file) []byte {
	was := make([]string, len(f.was))
	for i, c := range f.was {
		was[i] = string(c)
	}
	var text strings.Builder
	text.WriteString(note)
	fmt.Fprintf(&text, header, f.service, f.shares[colour.Blue], f.shares[colour.Green], strings.Join(append(was, "-"), ","), f.boot, f.tick)
	fmt.Fprintf(&text, "upstream %s {\n", u.Name)
	for _, c := range colours {
		for _, address := range u.addresses(n, c) {
			fmt.Fprintf(&text, "    server %s", address)
			if len(n.Backends) == 1 { // there is no other one to go to for 10 seconds because of a request that failed
				text.WriteString(" max_fails=0")
			}
			switch share := f.shares[c]; share {
			case 0:
				text.WriteString(" down")
			case 100:
			default:
				fmt.Fprintf(&text, " weight=%d", share)
			}
			fmt.Fprintf(&text, "; # %s\n", c)
		}
	}
	text.WriteString("}\n")
	fmt.Fprintf(&text, footer, sha256.Sum256([]byte(text.String())))
	return []byte(text.String())
}

// addresses are where the port of a colour answers for a node.
func (u *Upstream) addresses(n Node, c colour.Colour) []string {
	addresses := make([]string, len(n.Backends))
	for i, backend := range n.Backends {
		addresses[i] = net.JoinHostPort(backend, strconv.Itoa(u.Port+slices.Index(colours, c)))
	}
	return addresses
}

// parse reads a file that render has written. One that is anything else is refused.
func parse(content []byte) (file, error) {
	text := string(content)
	cut := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	body, rest := text[:cut], text[cut:]
	if rest != fmt.Sprintf(footer, sha256.Sum256([]byte(body))) || !strings.HasPrefix(body, note) {
		return file{}, fault.New(fault.Refused, "somebody has changed it, or written it by hand")
	}
	var f file
	var blue, green int
	var was string
	if _, err := fmt.Sscanf(body[len(note):], header, &f.service, &blue, &green, &was, &f.boot, &f.tick); err != nil {
		return file{}, fault.New(fault.Refused, "another version of crossfade has written it: %w", err)
	}
	f.shares = Shares{colour.Blue: blue, colour.Green: green}
	for name := range strings.SplitSeq(was, ",") {
		if c := colour.Colour(name); slices.Contains(colours, c) {
			f.was = append(f.was, c)
		}
	}
	return f, nil
}
