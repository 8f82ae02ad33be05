# PIDFILE SECONDS COMMAND...: has nginx read its configuration, and ends when all workers that accept connections were started after that.
# Ends with 76 when they were not within so many seconds.
seconds=$2
shift 2
accepting() { workers | while read -r what pid _; do [ "$what" != worker ] || printf '%s ' "$pid"; done; }

fresh() {
  after=$(accepting)
  for pid in $after; do
    case " $before" in *" $pid "*) return 1 ;; esac
  done
  [ -n "$after" ]
}

before=$(accepting)
"$@" -s reload || exit
until=$(($(date +%s) + seconds))
while ! fresh; do
  [ "$(date +%s)" -le "$until" ] || exit 76
  sleep 0.1
done
