# Until the end of the shell, clients are told to close their connections with the answer to their next request; then it waits until they
# have, or nginx has closed those that nobody used, for $CROSSFADE_SECONDS at most. $CROSSFADE_ROUTES is where the routes are,
# $CROSSFADE_PORTS are the ports of clients, in hexadecimal as the kernel has them. A shell that is killed cannot take its marks away: they
# are names of ten seconds each, up to when the reload is over, and mean nothing any more after that.
each() {
  for route in "$CROSSFADE_ROUTES"/crossfade-host-*.d; do
    [ ! -d "$route/sides" ] || "$@" "$route/closing"
  done
}

mark() {
  rm -rf "$1"
  mkdir "$1"
  for tens in $marks; do : >"$1/$tens"; done
}

clients() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v ports=" $CROSSFADE_PORTS " '
    $4 == "01" { n = split($2, part, ":"); if (index(ports, " " part[n] " ")) print $2 "-" $3 }'
}

# left: whether a client from before is still there.
left() {
  now=$(clients)
  for client in $from; do
    case "
$now
" in *"
$client
"*) return 0 ;; esac
  done
  return 1
}

begin=$(date +%s)
end=$((begin + CROSSFADE_SECONDS))
marks=$(seq $((begin / 10)) $(((end + 20) / 10))) # nginx has 10 seconds for the reload itself
trap 'each rm -rf' EXIT
each mark
from=$(clients)
while [ -n "$from" ] && left && [ "$(date +%s)" -le "$end" ]; do sleep 0.1; done
