package nginx

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// The file of a route has all but its shares and its pre-live side. Its first line has the sum of all after it; the second one is for us.
const (
	note   = "# Written by crossfade, sha256=%x. It stops at a file that somebody has changed: settings of your own belong into %s\n"
	header = "# %s" + stamp
	stamp  = " boot=%s tick=%d\n"
)

// details are what the second line says of a route.
type details struct {
	Host        string        `json:"host"`
	PreLiveHost string        `json:"preLiveHost,omitempty"`
	Path        string        `json:"path,omitempty"`
	Interval    time.Duration `json:"interval,omitempty"`
	Drain       time.Duration `json:"drain,omitempty"`
	Sides       []sideDetails `json:"sides"`
}

type sideDetails struct {
	Generation string   `json:"generation"`
	Endpoints  []string `json:"endpoints,omitempty"`
}

// file is what the file of a route says.
type file struct {
	route traffic.Route // without weights and its pre-live side
	boot  string        // of the machine in which it was written
	tick  uint64        // of that boot at which it was written, in the unit of the start times of processes
}

// place is where the files of a route are on a node.
type place struct{ dir, host string }

func (p place) file() string   { return path.Join(p.dir, "crossfade-host-"+p.host+".conf") }
func (p place) shares() string { return path.Join(p.dir, "crossfade-host-"+p.host+".d") }

// render writes the file.
func (p place) render(f file, listen []string) []byte {
	r := f.route
	d := details{Host: r.Host, PreLiveHost: r.PreLiveHost, Path: r.Health.Path, Interval: r.Health.Interval, Drain: r.Drain}
	for _, s := range r.Sides {
		d.Sides = append(d.Sides, sideDetails{s.Generation, s.Endpoints})
	}
	raw, _ := json.Marshal(d) // texts and numbers always can
	return p.signed(fmt.Sprintf(header, raw, f.boot, f.tick) + p.server(r, listen, token(string(raw), listen)))
}

// signed is a file with its first line.
func (p place) signed(body string) []byte {
	return []byte(fmt.Sprintf(note, sha256.Sum256([]byte(body)), p.shares()+"/*.conf") + body)
}

// stamped is a file that render has written as if it were of another time.
func (p place) stamped(content []byte, boot string, tick uint64) []byte {
	_, body, _ := strings.Cut(string(content), "\n")
	second, rest, _ := strings.Cut(body, "\n")
	about, _, _ := strings.Cut(second, " boot=")
	return p.signed(about + fmt.Sprintf(stamp, boot, tick) + rest)
}

// token is a name, below crossfade.invalid, at which only an nginx that has read just this file answers.
func token(about string, listen []string) string {
	sum := sha256.Sum256([]byte(about + strings.Join(listen, ";")))
	return fmt.Sprintf("%x.crossfade.invalid", sum[:8])
}

// asked is the token in a file.
var asked = regexp.MustCompile(`[0-9a-f]{16}\.crossfade\.invalid`)

// parse reads a file that render has written. One that is anything else is refused.
func (p place) parse(content []byte) (file, error) {
	first, body, _ := strings.Cut(string(content), "\n")
	second, _, _ := strings.Cut(body, "\n")
	var f file
	if first+"\n" != fmt.Sprintf(note, sha256.Sum256([]byte(body)), p.shares()+"/*.conf") {
		return f, fault.New(fault.Refused, "somebody has changed it, or written it by hand")
	}
	var d details
	text, rest, _ := strings.Cut(strings.TrimPrefix(second, "# "), " boot=")
	err := json.Unmarshal([]byte(text), &d)
	if err == nil {
		_, err = fmt.Sscanf(rest, "%s tick=%d", &f.boot, &f.tick)
	}
	if err != nil {
		return f, fault.New(fault.Refused, "another version of crossfade has written it: %w", err)
	}
	f.route = traffic.Route{Host: d.Host, PreLiveHost: d.PreLiveHost, Health: traffic.Health{Path: d.Path, Interval: d.Interval}, Drain: d.Drain}
	for _, s := range d.Sides {
		f.route.Sides = append(f.route.Sides, traffic.Side{Generation: s.Generation, Endpoints: s.Endpoints})
	}
	return f, nil
}

// plain is a route as its file has it.
func plain(r traffic.Route) traffic.Route {
	r.PreLive, r.Sides = "", slices.Clone(r.Sides)
	for i := range r.Sides {
		r.Sides[i].Weight = 0
	}
	return r
}

// server renders the part of the file that is for nginx. A request throws dice, and the directory of the shares has a link for each number,
// and one for the pre-live name: the path that it leads to has the name of an upstream. While a file in the directory closing has the number of these
// ten seconds, clients are told to close their connections.
func (p place) server(r traffic.Route, listen []string, token string) string {
	id := fmt.Sprintf("crossfade_%x", sha256.Sum256([]byte(r.Host)))[:18]
	var text strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&text, strings.ReplaceAll(format, "ID", id)+"\n", args...)
	}
	line("split_clients $request_id $ID_lot {")
	for lot := range lots - 1 {
		line("    1%% %02d;", lot)
	}
	line("    * %d;\n}", lots-1)
	line("map $host $ID_entry {\n    default -;\n    \"~^%s$\" $ID_lot;\n    %s \"\";", exactly(r.Host), token)
	names := []string{r.Host, token}
	if r.PreLiveHost != "" {
		line("    \"~^%s$\" next;", exactly(r.PreLiveHost))
		names = append(names, r.PreLiveHost)
	}
	line("}\nmap $msec $ID_now {\n    \"~^(?<ID_tens>[0-9]+)[0-9][.]\" $ID_tens;")
	line("}\nmap $http_upgrade $ID_connection {\n    default upgrade;\n    \"\" \"\";\n}")
	line("map $ID_to $ID_upstream {\n    \"\" \"\"; # its links are gone\n    \"~/sides/%s([+][^/]*)?/\" \"\";", nobody)
	groups := groups(r)
	for _, g := range groups {
		line("    \"~/sides/%s/\" ID_%s;", exactly(g.name()), g.name())
	}
	if len(groups) > 0 { // else no side has endpoints
		line("    default ID_%s; # a worker from before, which does not know the newest side, goes on with one that it knows", groups[0].name())
	}
	line("}")
	for _, g := range groups {
		line("%s", g.render(id))
	}
	line("server {")
	for _, l := range listen {
		line("    listen %s;", l)
	}
	line("    server_name %s;\n    include %s/*.conf;", strings.Join(names, " "), p.shares())
	line("    location / {\n        root %s/live/$ID_entry;", p.shares())
	line("        if ($ID_entry = -) { return 404; }\n        set $ID_to $realpath_root;\n        if ($ID_entry = \"\") { return 200 \"$ID_to\"; }")
	line("        if ($ID_upstream = \"\") { return 503; }\n        error_page 418 = @ID_last;")
	line("        open_file_cache off;\n        if (-e %s/closing/$ID_now) { return 418; }", p.shares())
	line("%s    }\n    location @ID_last {\n        keepalive_timeout 0;\n%[1]s    }\n}", strings.ReplaceAll(proxy, "ID", id))
	return text.String()
}

// exactly is a regular expression for a text.
func exactly(text string) string { return strings.NewReplacer(".", "[.]", "+", "[+]").Replace(text) }

// proxy sends a request to its upstream. Connections to endpoints are not kept, so that the Service behind a node port chooses a pod anew, pods that
// are leaving get no more requests, and none meets a connection that its pod is just closing. Bodies are passed on as they come, so that an upload is a
// connection to its endpoint, and is counted, from its head on. What was sent goes to another endpoint only if it can be repeated (RFC 9110 section
// 9.2.2), and if it was whole when nginx began to: nothing else is kept.
const proxy = `        proxy_pass http://$ID_upstream;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection $ID_connection;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_connect_timeout 1s;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        proxy_next_upstream error timeout;
        proxy_next_upstream_timeout 5s;
        proxy_request_buffering off;
        proxy_buffering off;
        grpc_set_header Host $http_host;
        grpc_connect_timeout 1s;
        grpc_read_timeout 1h;
        grpc_send_timeout 1h;
        grpc_next_upstream error timeout;
        grpc_next_upstream_timeout 5s;
        if ($http_content_type ~ ^application/grpc) { grpc_pass grpc://$ID_upstream; }
`

// group is an upstream: the endpoints of a side, and of those that stand in where none of them can be reached.
type group struct {
	side     traffic.Side
	standIns []traffic.Side
}

// groups are all that the shares of a route may ever lead to.
func groups(r traffic.Route) []group {
	var all []group
	for i, s := range r.Sides {
		if len(s.Endpoints) == 0 {
			continue
		}
		others := slices.DeleteFunc(slices.Delete(slices.Clone(r.Sides), i, i+1), func(o traffic.Side) bool { return len(o.Endpoints) == 0 })
		for some := range 1 << len(others) {
			g := group{side: s}
			for j, o := range others {
				if some&(1<<j) != 0 {
					g.standIns = append(g.standIns, o)
				}
			}
			all = append(all, g)
		}
	}
	return all
}

// name is that of its directory, in which generations stand as nginx does not separate words there.
func (g group) name() string {
	names := []string{g.side.Generation}
	for _, s := range g.standIns {
		names = append(names, s.Generation)
	}
	return strings.Join(names, "+")
}

// render writes the upstream. Where nobody else stands in, the same endpoints do, whatever became of requests before: that all of them failed some
// says more of the requests than of the endpoints.
func (g group) render(id string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "upstream %s_%s {\n    zone %[1]s_%[2]s 64k;\n", id, g.name())
	for _, e := range g.side.Endpoints {
		fmt.Fprintf(&text, "    server %s max_fails=3 fail_timeout=2s;\n", e)
	}
	standIns := g.standIns
	if len(standIns) == 0 {
		standIns = []traffic.Side{g.side}
	}
	fewest := math.MaxInt
	for _, s := range standIns {
		fewest = min(fewest, len(s.Endpoints))
	}
	for _, s := range standIns {
		for _, e := range s.Endpoints {
			weight := max(1, int(math.Round(float64(10*fewest)/float64(len(s.Endpoints)))))
			fmt.Fprintf(&text, "    server %s max_fails=0 backup weight=%d;\n", e, weight)
		}
	}
	return text.String() + "}"
}

// with is a route with sides of another one, too, that it does not have.
func with(r traffic.Route, more []traffic.Side) traffic.Route {
	r.Sides = slices.Clone(r.Sides)
	for _, s := range more {
		if !slices.ContainsFunc(r.Sides, func(o traffic.Side) bool { return o.Generation == s.Generation }) {
			r.Sides = append(r.Sides, s)
		}
	}
	slices.SortFunc(r.Sides, func(a, b traffic.Side) int { return cmp.Compare(a.Generation, b.Generation) })
	return r
}
