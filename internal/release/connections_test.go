package release

import "testing"

// TestEstablished counts in a table as Linux prints it.
func TestEstablished(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532        0 81020 1
   1: 0A07630A:1F90 0107630A:C350 01 00000000:00000000 00:00000000 00000000 65532        0 81021 1
   2: 0A07630A:1F90 0107630A:C351 06 00000000:00000000 03:00000176 00000000     0        0 0 3
   3: 0A07630A:C352 0207630A:1F90 01 00000000:00000000 00:00000000 00000000 65532        0 81022 1
   4: 0000000000000000FFFF00000A07630A:1F91 0000000000000000FFFF00000107630A:C353 01 00000000:00000000 00:00000000 00000000 65532 0 81023 1
`
	for _, tc := range []struct {
		reason string
		ports  map[int32]bool
		want   int
	}{
		{"one is established at 8080; others listen, have ended, or go out to such a port", map[int32]bool{8080: true}, 1},
		{"an IPv4 user of an IPv6 socket counts", map[int32]bool{8080: true, 8081: true}, 2},
		{"a port that no Service leads to does not", map[int32]bool{8080: false, 9090: true}, 0},
	} {
		if got := established([]byte(table), tc.ports); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.reason, got, tc.want)
		}
	}
}
