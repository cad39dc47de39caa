# clang-format has nothing to change.  `clang-format -i FILE` makes it so.
command -v clang-format >/dev/null || { echo 'skipped: there is no clang-format'; exit 77; }
cd "$2" || exit 1
find runtime generator db tuner templates tests examples -name '*.[ch]' 2>/dev/null | xargs clang-format --dry-run -Werror
