package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

const (
	// callLimit bounds one call of the runtime API.
	callLimit = 10 * time.Second
	// maxCommand is the longest line that HAProxy takes, in bytes: below its buffers (tune.bufsize), which have 16 KiB.
	maxCommand = 15_000
)

// errRefused says that HAProxy did not do what it was told; it says why. Its state may not be what was read before.
var errRefused = errors.New("refused")

// confirmations are answers to commands that HAProxy has carried out.
var confirmations = []string{"", "New server registered.", "Server deleted."}

// command has HAProxy carry out a line of commands.
func (r *Router) command(ctx context.Context, line string) error {
	if len(line) > maxCommand {
		return fault.New(fault.Invalid, "the route is too long: %d bytes, and HAProxy takes %d", len(line), maxCommand).WithHint("give it fewer endpoints")
	}
	answer, err := r.call(ctx, line)
	if err != nil {
		return err
	}
	for said := range strings.Lines(answer) {
		said = strings.TrimSpace(said)
		if !confirms(said) {
			return fmt.Errorf("%q: %w: %s", strings.Join(strings.Fields(line)[:2], " "), errRefused, said)
		}
	}
	return nil
}

func confirms(line string) bool {
	for _, c := range confirmations {
		if line == c {
			return true
		}
	}
	return false
}

// call sends a line to HAProxy and returns its whole answer. An error is of code Unavailable, except when the socket allows too little.
func (r *Router) call(ctx context.Context, line string) (string, error) {
	answer, err := r.exchange(ctx, line)
	switch {
	case err != nil:
		return "", fault.New(fault.Unavailable, "it does not answer: %w", err).WithHint("start it, or check the address of its stats socket")
	case strings.HasPrefix(answer, "Permission denied"):
		return "", fault.New(fault.Invalid, "its stats socket does not allow %q", strings.Join(strings.Fields(line)[:2], " ")).
			WithHint("give the line stats socket of its configuration the words level admin")
	}
	return answer, nil
}

func (r *Router) exchange(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, r.network, r.options.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(conn)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil && len(raw) == 0:
		return "", io.ErrUnexpectedEOF
	}
	return string(raw), err
}
