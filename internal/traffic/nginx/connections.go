package nginx

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// connectionsScript prints, for each address that the machine has connections to, how many are established: "ADDRESS:PORT N", as in proc_pid_net(5).
const connectionsScript = `cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "01" { n[$3]++ } END { for (a in n) print a, n[a] }'`

// parseConnections reads what connectionsScript prints.
func parseConnections(text string) map[string]int64 {
	all := map[string]int64{}
	for line := range strings.Lines(text) {
		var address string
		var n int64
		if _, err := fmt.Sscan(line, &address, &n); err == nil {
			all[address] = n
		}
	}
	return all
}

// kernelAddress is an endpoint as the tables of the kernel have it: words of four bytes in the order of the machine, which is the little-endian one
// of all that Crossfade supports, and the port, in hexadecimal.
func kernelAddress(endpoint string) string {
	a, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return ""
	}
	raw := a.Addr().Unmap().AsSlice()
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	return strings.ToUpper(hex.EncodeToString(raw)) + fmt.Sprintf(":%04X", a.Port())
}
