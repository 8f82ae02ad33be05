exec 3<&0
setsid "$@" </dev/null 3<&- &
program=$!
{ read -r _ <&3; kill -s KILL -- "-$program"; } >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$program" 2>/dev/null
status=$?
exec 2>/dev/null
kill -s KILL "$guard"
exit "$status"
