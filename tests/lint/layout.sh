# The rules of the source tree that a search can check.  Prints every breach with its file and line.
cd "$2" || exit 1
failed=0

files() {
  find "$@" -type f \( -name '*.c' -o -name '*.h' -o -name '*.S' -o -name '*.cu' \) | sort
}
own=$(ls -d runtime generator db tuner templates tests examples 2>/dev/null)
library='runtime generator db'

breach() {
  failed=1
  printf '%s\n' "$1:"
  sed 's/^/  /'
}

# only PATTERN ALLOWED FOLDER...: lines that match PATTERN lie in files whose path matches ALLOWED ('no file': nowhere).
only() {
  pattern=$1 allowed=$2
  shift 2
  found=$(files "$@" | xargs grep -nE "$pattern" /dev/null | grep -vE "^($allowed):")
  [ -z "$found" ] || printf '%s\n' "$found" | breach "'$pattern' is for $allowed only"
}

# single PATTERN FOLDER: at most one file holds PATTERN.
single() {
  found=$(files $own | xargs grep -lE "$1")
  [ "$(printf '%s\n' "$found" | wc -l)" -le 1 ] || printf '%s\n' "$found" | breach "more than one file includes $1"
}

only '# *include *[<"]sqlite3\.h' 'db/[a-z_]*\.c' $own
single '# *include *[<"]sqlite3\.h'
only '# *include *[<"](lua|lauxlib|lualib)\.h' 'tuner/[a-z_]*\.c' $own
single '# *include *[<"]lua\.h'
only '# *include *[<"]cuda[a-z_]*\.h[>"]' 'runtime/device/cuda_[a-z_]*\.[ch]' runtime generator db tuner
only '# *include *[<"]nvrtc\.h' 'runtime/jit/nvrtc_[a-z_]*\.[ch]' runtime generator db tuner
only '\bgetenv *\(' 'runtime/base/host\.c' runtime generator db tuner templates
only '\basm *(volatile)? *\(' 'templates/prelude_cuda\.h' templates
only '\b(malloc|calloc|realloc|free|strdup|asprintf) *\(' 'runtime/base/alloc\.c' $library
only '\b(printf|puts|putchar|vprintf|exit|abort|perror) *\(' 'no file' $library
only '\bf(printf|puts|flush) *\(( *[a-z]+, *)?std(out|err)' 'no file' $library
only '\b(TODO|FIXME|XXX|HACK)\b' 'no file' $own

files $own | sed 's|.*/||' | sort | uniq -d | while read -r name; do
  files $own | grep "/$name\$"
done > "$1/layout_names.txt"
[ ! -s "$1/layout_names.txt" ] || breach 'file names that are not unique' < "$1/layout_names.txt"

files $own | xargs wc -l | awk '$1 > 700 && $2 != "total"' > "$1/layout_long.txt"
[ ! -s "$1/layout_long.txt" ] || breach 'files above 700 lines' < "$1/layout_long.txt"

# A .c with a header of its own includes it first, which proves that the header needs nothing before it.
for source in $(files $own | grep '\.c$'); do
  [ -f "${source%.c}.h" ] || continue
  first=$(sed -n 's/^# *include *//p' "$source" | head -n 1)
  [ "$first" = "\"$(basename "${source%.c}").h\"" ] || echo "$source includes $first first"
done > "$1/layout_first.txt"
[ ! -s "$1/layout_first.txt" ] || breach 'own header not first' < "$1/layout_first.txt"

sed -n 's/^ *option(\([A-Z_]*\).*/\1/p' CMakeLists.txt | while read -r option; do
  grep -q "\`$option\`" docs/environment.md || echo "$option"
done > "$1/layout_options.txt"
[ ! -s "$1/layout_options.txt" ] || breach 'options that docs/environment.md lacks' < "$1/layout_options.txt"
exit $failed
