package ssh

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// connect returns the connection, and whether it was there already.
func (h *Host) connect(ctx context.Context) (c *ssh.Client, reused bool, err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.connection != nil {
		return h.connection, true, nil
	}
	h.connection, err = h.dial(ctx)
	return h.connection, false, err
}

// address is where the machine is reached, with the port.
func (h *Host) address() string {
	if _, _, err := net.SplitHostPort(h.options.Address); err == nil {
		return h.options.Address
	}
	return net.JoinHostPort(h.options.Address, "22")
}

// dial connects and logs in.
func (h *Host) dial(ctx context.Context) (*ssh.Client, error) {
	config, done, err := h.config(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.address())
	if err != nil {
		return nil, fault.New(fault.Unavailable, "cannot reach %s: %w", h.options.Name, err).
			WithHint("see whether %s is up, and whether its SSH server listens at %s", h.options.Name, h.address())
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c, channels, requests, err := ssh.NewClientConn(raw, h.address(), config)
	stop()
	if err != nil {
		raw.Close()
		return nil, h.rejected(err, config.User)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// config is how to log in. The returned function lets go of the agent.
func (h *Host) config(ctx context.Context) (*ssh.ClientConfig, func(), error) {
	known, err := knownHosts(h.options.KnownHosts)
	if err != nil {
		return nil, nil, fault.New(fault.Failed, "cannot check the key of %s: %w", h.options.Name, err).
			WithHint("write the key of %s into a file in the format of known_hosts, and name it with knownHosts", h.options.Name)
	}
	name := h.options.User
	if name == "" {
		current, err := user.Current()
		if err != nil {
			return nil, nil, fault.New(fault.Failed, "cannot tell whom to log in as on %s: %w", h.options.Name, err).WithHint("set the user")
		}
		name = current.Username
	}
	method, done, err := h.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{method},
		HostKeyCallback: known.HostKeyCallback(), HostKeyAlgorithms: known.HostKeyAlgorithms(h.address()),
	}, done, nil
}

func knownHosts(file string) (*knownhosts.HostKeyDB, error) {
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		file = filepath.Join(home, ".ssh", "known_hosts")
	}
	return knownhosts.NewDB(file)
}

// keys is what to log in with: the key of a file, or those of the agent.
func (h *Host) keys(ctx context.Context) (ssh.AuthMethod, func(), error) {
	if h.options.KeyFile != "" {
		signer, err := readKey(h.options.KeyFile)
		if err != nil {
			return nil, nil, fault.New(fault.Failed, "cannot log in to %s: %w", h.options.Name, err).
				WithHint("name a private key that has no passphrase, or none, and load yours into an SSH agent")
		}
		return ssh.PublicKeys(signer), func() {}, nil
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, fault.New(fault.Failed, "cannot log in to %s: no key file is named, and no SSH agent runs", h.options.Name).
			WithHint("name a private key with keyFile, or start ssh-agent and ssh-add your key")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fault.New(fault.Failed, "cannot log in to %s: cannot ask the SSH agent: %w", h.options.Name, err).
			WithHint("see whether the agent of SSH_AUTH_SOCK runs")
	}
	return ssh.PublicKeysCallback(agent.NewClient(conn).Signers), func() { conn.Close() }, nil
}

// readKey reads a private key. Its error never says anything of its content.
func readKey(file string) (ssh.Signer, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(raw)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, &fs.PathError{Op: "use", Path: file, Err: errors.New("the key has a passphrase")}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "use", Path: file, Err: errors.New("it is not a private key")}
	}
	return signer, nil
}

// rejected says why a connection was not made.
func (h *Host) rejected(err error, user string) error {
	name := h.options.Name
	file := cmp.Or(h.options.KnownHosts, "~/.ssh/known_hosts")
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return fault.New(fault.Failed, "cannot trust %s: its key is not the one in %s: %w", name, file, err).
			WithHint("find out whether %s was made anew or somebody is in between; then put its key into %s", h.address(), file)
	case knownhosts.IsHostUnknown(err):
		return fault.New(fault.Failed, "cannot trust %s: %s has no key of %s: %w", name, file, h.address(), err).
			WithHint("get its key from who made it, and add it to %s", file)
	case strings.Contains(err.Error(), "unable to authenticate"): // it has no type
		return fault.New(fault.Failed, "cannot log in to %s as %s: %w", name, user, err).
			WithHint("add the public key to the authorized_keys of %s on %s", user, name)
	default:
		return fault.New(fault.Unavailable, "cannot talk SSH to %s: %w", name, err).WithHint("see whether an SSH server listens at %s", h.address())
	}
}
