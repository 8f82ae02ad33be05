pidfile=$1

# look PID: sets parent and start, the tick of the boot at which the process was started (proc(5), fields 4 and 22 of stat).
look() {
  { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return
  # shellcheck disable=SC2086 # a list of fields; what is before them, the name of the program, may have spaces
  set -- ${line##*) }
  parent=$2 start=${20}
}

# workers: prints "worker PID TICK" for each that accepts connections, "leaving PID TICK" for each that does not any more.
workers() {
  { read -r master <"$pidfile"; } 2>/dev/null || return 0
  case $(tr '\0' ' ' 2>/dev/null <"/proc/$master/cmdline") in
    "nginx: master process"*) echo "master $master" ;;
    *) return 0 ;;
  esac
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    look "$pid" && [ "$parent" = "$master" ] || continue
    case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") in
      "nginx: worker process is shutting down"*) echo "leaving $pid $start" ;;
      "nginx: worker process"*) echo "worker $pid $start" ;;
    esac
  done
}

state() {
  echo "boot $(cat /proc/sys/kernel/random/boot_id)"
  look $$ && echo "now $start"
  workers
}
