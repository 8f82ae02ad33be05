# ROUTE: prints the shares that are in force: "name NAME", then "lot NAME TARGET" for each.
cd "$1" 2>/dev/null || exit 0
name=$(readlink live) || exit 0
echo "name $name"
for lot in "$name"/*; do
  set -- "$@" "$lot"
done
shift
readlink "$@" | awk -v names="$*" 'BEGIN { split(names, name, " ") } { print "lot", name[NR], $0 }'
