# Places that cannot be written: a database there is an error that names it, a cache of compiled kernels is not.
tune=$1/apq-tune
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
APQ_DEVICE=emu
export APQ_DEVICE
unset APQ_DB APQ_CACHE_DIR
failed=0
one='--space quick --bits W2A2 --shape 16x64x512 --top 1'

# refuse TEXT ARGUMENT...: exit status 1 and one line that holds TEXT.
refuse() {
  text=$1
  shift
  "$tune" --quiet "$@" > "$work/out" 2> "$work/err"
  status=$?
  if [ $status -ne 1 ] || [ "$(wc -l < "$work/err")" -ne 1 ] || ! grep -q '^apq-tune: ' "$work/err" ||
     ! grep -qF -e "$text" "$work/err"; then
    failed=1
    printf 'apq-tune %s\n  gave %s, wanted 1 and: %s\n' "$*" $status "$text"
    sed 's/^/  | /' "$work/err"
  fi
}

# A folder that no user, root included, can make files in.
: > "$work/file"
refuse "$work/file'" --db "$work/file/apq.db" $one
XDG_CACHE_HOME=$work/file HOME=$work/file "$tune" --quiet $one > "$work/out" 2> "$work/err"
if [ $? -ne 1 ] || ! grep -qF "$work/file" "$work/err"; then
  echo 'a cache folder below a file: no error that names it'
  failed=1
fi
env -u HOME -u XDG_CACHE_HOME "$tune" --quiet $one > "$work/out" 2> "$work/err"
if [ $? -ne 1 ] || ! grep -qF 'no place for a database' "$work/err"; then
  echo 'without HOME: no error that says what to set'
  failed=1
fi

# Kernels without a cache: slower, never an error.
APQ_CACHE_DIR=$work/file/cache "$tune" --quiet --db "$work/a.db" $one > "$work/out" 2> "$work/err"
status=$?
if [ $status -ne 0 ] || ! grep -q '^W2A2 16x64x512 f16 ' "$work/out"; then
  printf 'an unwritable cache folder: exit %s\n' $status
  cat "$work/err"
  failed=1
fi

# A damaged database is set aside when tuning, kept, and said.
printf 'not a database, but something that somebody may want to look at later on' > "$work/b.db"
APQ_CACHE_DIR=$work/cache "$tune" --db "$work/b.db" $one > "$work/out" 2> "$work/err"
status=$?
if [ $status -ne 0 ] || ! grep -q 'not a database' "$work"/b.db.set-aside-* || ! grep -q 'set-aside' "$work/err"; then
  printf 'a damaged database: exit %s\n' $status
  cat "$work/err"
  failed=1
fi

exit $failed
