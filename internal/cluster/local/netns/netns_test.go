package netns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAllocate(t *testing.T) {
	network := Network{Subnet: netip.MustParsePrefix("198.18.0.0/29")} // the machine's .1, nodes .2 to .6, broadcast .7
	five := []netip.Addr{addr("198.18.0.2"), addr("198.18.0.3"), addr("198.18.0.4"), addr("198.18.0.5"), addr("198.18.0.6")}
	cases := map[string]struct {
		prefer netip.Addr
		used   []netip.Addr
		want   string
	}{
		"the first":                     {want: "198.18.0.2"},
		"the lowest free one":           {used: []netip.Addr{addr("198.18.0.2"), addr("198.18.0.4")}, want: "198.18.0.3"},
		"the preferred one":             {prefer: addr("198.18.0.5"), want: "198.18.0.5"},
		"preferred, but taken":          {prefer: addr("198.18.0.2"), used: five[:1], want: "198.18.0.3"},
		"preferred, but the machine's":  {prefer: addr("198.18.0.1"), want: "198.18.0.2"},
		"preferred, but the broadcast":  {prefer: addr("198.18.0.7"), want: "198.18.0.2"},
		"preferred, but of another net": {prefer: addr("10.0.0.2"), want: "198.18.0.2"},
		"the last":                      {used: five[:4], want: "198.18.0.6"},
		"none left":                     {used: five, want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := network.allocate(tc.prefer, tc.used)
			if tc.want == "" {
				if fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" {
					t.Errorf("got %v and the error %v, want an error with a hint", got, err)
				}
				return
			}
			if err != nil || got != addr(tc.want) {
				t.Errorf("got %v, %v, want %s", got, err, tc.want)
			}
		})
	}
}

func TestCableNamesTellTheAddress(t *testing.T) {
	network := Default()
	for _, address := range []string{"198.18.0.2", "198.18.255.254", "198.18.3.17"} {
		name := network.cableName(addr(address))
		if len(name) > 15 {
			t.Errorf("the cable of %s has the name %s, too long for a link", address, name)
		}
		if got, ok := network.addressOf(name); !ok || got != addr(address) {
			t.Errorf("the cable %s of %s stands for %s, %v", name, address, got, ok)
		}
	}
	for _, name := range []string{"lo", "switch0", "up0", "cf", "cf1", "cf999-1", "cfa-b"} {
		if got, ok := network.addressOf(name); ok {
			t.Errorf("the link %s stands for %s, want nothing", name, got)
		}
	}
}

func TestParseMounts(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /state rw - tmpfs tmpfs rw
31 30 0:26 / /state/local/one/rootfs rw - overlay overlay rw
32 30 0:27 / /state/local/one\040more rw - overlay overlay rw
33 22 0:28 / /statement rw - tmpfs tmpfs rw
34 31 0:29 / /state/local/one/rootfs/proc rw - proc proc rw
short line
`
	cases := map[string][]string{
		"/state":           {"/state", "/state/local/one/rootfs", "/state/local/one more", "/state/local/one/rootfs/proc"},
		"/state/local/one": {"/state/local/one/rootfs", "/state/local/one/rootfs/proc"},
		"/other":           nil,
	}
	for dir, want := range cases {
		if diff := cmp.Diff(want, parseMounts(mountinfo, dir)); diff != "" {
			t.Errorf("below %s: %s", dir, diff)
		}
	}
}

func TestParseLinks(t *testing.T) {
	got, err := parseLinks([]byte(`[{"ifindex":1,"ifname":"lo","flags":["UP"]},{"ifname":"cf0-2","ifalias":"0123-1"}]`))
	if diff := cmp.Diff([]link{{Name: "lo"}, {Name: "cf0-2", Alias: "0123-1"}}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := parseLinks([]byte("Object \"link\" is unknown")); err == nil {
		t.Error("no error for what is not JSON")
	}
}

// testNetwork returns a network beside that of the machine's clusters, and cuts it down at the end of the test.
func testNetwork(t *testing.T) Network {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("namespaces need root")
		}
		t.Skip("namespaces need root")
	}
	dir, err := os.MkdirTemp("/run", "crossfade-test-")
	if err != nil {
		t.Fatal(err)
	}
	n := Network{Dir: filepath.Join(dir, "n"), Link: "cftest0", Subnet: netip.MustParsePrefix("198.19.255.0/24")}
	t.Cleanup(func() {
		names, err := n.Names("")
		err = errors.Join(err, n.Detach(context.Background(), names...), os.Remove(dir))
		if err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestAttachDetach(t *testing.T) {
	n := testNetwork(t)
	ctx := t.Context()
	addresses := map[string]netip.Addr{}
	var group errgroup.Group
	results := make(chan struct {
		name    string
		address netip.Addr
	}, 4)
	for _, name := range []string{"a-1", "a-2", "b-1", "b-2"} { // all at once
		group.Go(func() error {
			address, err := n.Attach(ctx, name, netip.Addr{}, strings.HasSuffix(name, "1"))
			results <- struct {
				name    string
				address netip.Addr
			}{name, address}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for range 4 {
		r := <-results
		addresses[r.name] = r.address
		all = append(all, r.address.String())
	}
	slices.Sort(all)
	if diff := cmp.Diff([]string{"198.19.255.2", "198.19.255.3", "198.19.255.4", "198.19.255.5"}, all); diff != "" {
		t.Errorf("addresses of four at once: %s", diff)
	}
	for name, before := range addresses {
		if got, err := n.Attach(ctx, name, addr("198.19.255.200"), true); err != nil || got != before {
			t.Errorf("attached again, %s has %v, %v, and had %v", name, got, err, before)
		}
	}
	reach(t, n, "a-1", addresses["b-2"])
	if names, err := n.Names("a-"); err != nil || !slices.Equal(names, []string{"a-1", "a-2"}) {
		t.Errorf("names beginning with a-: %v, %v", names, err)
	}
	if err := n.Detach(ctx, "a-1", "b-1", "b-2", "never"); err != nil {
		t.Fatal(err)
	}
	if got, err := n.Attach(ctx, "c-1", addresses["b-1"], false); err != nil || got != addresses["b-1"] {
		t.Errorf("got %v, %v, want the preferred address %v, which is free now", got, err, addresses["b-1"])
	}
	reach(t, n, "c-1", addresses["a-2"]) // at once, though the address had another owner
	if err := n.Detach(ctx, "a-2", "c-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the empty network is there: %v", err)
	}
	if _, err := net.InterfaceByName(n.Link); err == nil {
		t.Errorf("the link of the empty network is there")
	}
	if mounts, err := Mounts(n.Dir); err != nil || len(mounts) > 0 {
		t.Errorf("mounts of the empty network: %v, %v", mounts, err)
	}
}

// reach connects from one namespace to another, and from the machine.
func reach(t *testing.T, n Network, from string, to netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), "connection refused") } // it answers
	if _, err := n.Dial(ctx, from, "tcp", netip.AddrPortFrom(to, 9)); !refused(err) {
		t.Errorf("from %s to %s: %v, want connection refused", from, to, err)
	}
	var dialer net.Dialer
	if _, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(to, 9).String()); !refused(err) {
		t.Errorf("from the machine to %s: %v, want connection refused", to, err)
	}
}

// TestAttachCompletes breaks a network in every way that a kill or the machine's end can, and attaches again.
func TestAttachCompletes(t *testing.T) {
	n := testNetwork(t)
	ctx := t.Context()
	breaks := map[string][]string{
		"the machine's link is gone": {"ip", "link", "delete", n.Link},
		"the cable is gone":          {"nsenter", "--net=" + n.file("switch", "net"), "ip", "link", "delete", "cf255-2"},
		"the cable has no alias":     {"nsenter", "--net=" + n.file("switch", "net"), "ip", "link", "set", "cf255-2", "alias", ""},
		"the switch is gone":         {"umount", "--lazy", n.file("switch", "net")},
		"the namespace is gone":      {"umount", "--lazy", n.file("a-1", "net")},
		"the mounts are gone":        {"umount", "--lazy", n.file("a-1", "mnt")},
		"all mounts are gone":        {"umount", "--lazy", "--recursive", n.Dir},
	}
	for name, command := range breaks {
		t.Run(name, func(t *testing.T) {
			want, err := n.Attach(ctx, "a-1", addr("198.19.255.2"), true)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", command, err, out)
			}
			got, err := n.Attach(ctx, "a-1", want, true)
			if err != nil || got != want {
				t.Fatalf("got %v, %v, want %v", got, err, want)
			}
			reach(t, n, "a-1", n.Gateway())
			if !isMountPoint(n.file("a-1", "mnt")) {
				t.Error("there is no mount namespace")
			}
		})
	}
}

func TestSubnetInUse(t *testing.T) {
	n := testNetwork(t)
	n.Subnet = netip.MustParsePrefix("127.0.0.0/16")
	_, err := n.Attach(t.Context(), "a-1", netip.Addr{}, false)
	if fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "127.0.0.1/8") {
		t.Errorf("got %v, want an error of code Invalid that names the address in the way", err)
	}
	if err := errors.Join(os.RemoveAll(n.Dir)); err != nil {
		t.Error(err)
	}
}

// TestProgramsHoldTheLock has a program of the network outlive whoever started it: the lock is free when it has ended.
func TestProgramsHoldTheLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockdir.Take(t.Context(), dir, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	began := filepath.Join(dir, "began")
	ended := make(chan error, 1)
	go func() {
		_, err := Network{Dir: dir, lock: lock}.output(t.Context(), "", "sh", "-c", "touch "+began+"; sleep 0.5; touch "+began+".ended")
		ended <- err
	}()
	for _, err := os.Stat(began); err != nil; _, err = os.Stat(began) {
		<-time.After(time.Millisecond)
	}
	lock.Release()
	if lock, err = lockdir.Take(t.Context(), dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if _, err := os.Stat(began + ".ended"); err != nil {
		t.Errorf("the lock was free before the program ended: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOutput(t *testing.T) {
	out, err := Output(t.Context(), "in", "cat")
	if string(out) != "in" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = Output(t.Context(), "", "sh", "-c", "echo no such thing >&2; exit 3")
	if err == nil || err.Error() != "sh: exit status 3: no such thing" {
		t.Errorf("got %v, want the exit status and the complaint", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Output(ctx, "", "sleep", "60"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
}

func TestToolOffThePath(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	if got := Tool("sh"); got != "/usr/bin/sh" && got != "/bin/sh" {
		t.Errorf("sh was found at %s", got)
	}
	if got := Tool("no-such-program"); got != "no-such-program" {
		t.Errorf("what is not there was found at %s", got)
	}
}
