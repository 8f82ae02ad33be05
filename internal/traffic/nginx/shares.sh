# ROUTE BEFORE NAME TARGET...: makes the shares of a name, unless they are there, and puts them in force at once. Of the targets each is FROM-TO=SIDES
# or next=SIDES. Ends with 77 when others are in force than those before, which are - for none. Those that were in force stay for
# requests that are just reading them; older ones go.
set -eu
cd "$1"
seen=$2
name=$3
shift 3
before=$(readlink live || true)
[ "$before" != "$name" ] || exit 0
[ "$seen" = "${before:--}" ] || exit 77
if [ ! -e "$name" ]; then
  rm -rf .new
  mkdir .new
  for target; do
    sides=${target#*=}
    what=${target%%=*}
    [ "$what" = next ] || what=$(seq -w "${what%-*}" "${what#*-}")
    set --
    for lot in $what; do
      [ ${#lot} -gt 1 ] || lot=0$lot
      set -- "$@" "../sides/$sides/$lot"
    done
    (cd .new && mkdir -p "$@" && ln -s -t . "$@")
  done
  mv -T .new "$name"
fi
ln -sfn "$name" .live
mv -T .live live
sync . "$name"
for old in shares-*; do
  case $old in "$name" | "$before") ;; *) rm -rf "$old" ;; esac
done
