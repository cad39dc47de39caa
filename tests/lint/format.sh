# clang-format has nothing to change.  Prints the files that it would; `clang-format -i FILE` does.
command -v clang-format >/dev/null || { echo 'skipped: there is no clang-format'; exit 77; }
cd "$2" || exit 1
files=$(find runtime generator db tuner templates tests examples -name '*.[ch]' 2>/dev/null | sort)
failed=0
for file in $files; do
  clang-format --dry-run -Werror "$file" 2>/dev/null || { echo "$file"; failed=1; }
done
exit $failed
