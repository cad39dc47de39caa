# A read-only database: tuning into it is an error that names the folder or the file, reading it works.
work=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
chmod 755 "$work"
cp "$1/apq-tune" "$work/apq-tune"
mkdir -m 777 "$work/cache" "$work/ro" "$work/out"
APQ_DEVICE=emu APQ_CACHE_DIR=$work/cache
export APQ_DEVICE APQ_CACHE_DIR
unset APQ_DB
one='--quiet --space quick --bits W2A2 --shape 16x64x512 --top 1'

# Permissions do not bind root: there, the program runs as nobody.
if [ "$(id -u)" -ne 0 ]; then
  as() { "$@"; }
elif command -v setpriv > /dev/null; then
  as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
else
  echo 'skipped: root, and there is no setpriv to drop privileges with'
  exit 77
fi

fail() {
  echo "$1"
  cat "$work/err"
  exit 1
}

as "$work/apq-tune" $one --db "$work/ro/a.db" > "$work/log" 2> "$work/err" || fail 'tuning failed'
chmod 444 "$work/ro/a.db"
chmod 555 "$work/ro"

as "$work/apq-tune" $one --retune --db "$work/ro/a.db" > "$work/log" 2> "$work/err"
status=$?
[ $status -eq 1 ] || fail "tuning into a read-only database: exit $status"
grep -q "^apq-tune: .*$work/ro" "$work/err" || fail 'the message does not name the place'
[ "$(wc -l < "$work/err")" -eq 1 ] || fail 'more than one line'

as "$work/apq-tune" list --db "$work/ro/a.db" > "$work/log" 2> "$work/err" || fail 'a read-only database cannot be listed'
grep -q 'W2A2 16x64x512' "$work/log" || fail 'the winner is not listed'
as "$work/apq-tune" explain --bits W2A2 --shape 16x64x512 --db "$work/ro/a.db" > "$work/log" 2> "$work/err" ||
  fail 'a read-only database cannot be dispatched from'
grep -q 'exact: tuned here' "$work/log" || fail 'dispatch does not see the winner'
