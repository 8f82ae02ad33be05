# ROUTE NAME TARGET...: makes the shares of a name, unless they are there, and puts them in force at once. Of the targets each is FROM-TO=SIDES
# or next=SIDES. Those that were in force before stay for requests that are just reading them; older ones go.
set -eu
cd "$1"
name=$2
shift 2
for target; do
  sides=${target#*=}
  mkdir -p "open/$sides" "closing/$sides"
done
[ -e to ] || ln -s open to
if [ ! -e "$name" ]; then
  rm -rf .new
  mkdir .new
  for target; do
    sides=${target#*=}
    case $target in
      next=*) ln -s "../to/$sides" .new/next ;;
      *)
        range=${target%%=*}
        for lot in $(seq -f %02.0f "${range%-*}" "${range#*-}"); do ln -s "../to/$sides" ".new/$lot"; done
        ;;
    esac
  done
  mv -T .new "$name"
fi
before=$(readlink live || true)
[ "$before" != "$name" ] || exit 0
ln -sfn "$name" .live
mv -T .live live
sync . "$name"
for old in shares-*; do
  case $old in "$name" | "$before") ;; *) rm -rf "$old" ;; esac
done
