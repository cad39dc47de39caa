# clang-tidy, and with it clang's own warnings, have nothing to say about what this build compiles.  Checks: .clang-tidy.
command -v run-clang-tidy >/dev/null || { echo 'skipped: there is no run-clang-tidy'; exit 77; }
cd "$2" || exit 1
# Generated sources lie in the build folder; their texts are data.
run-clang-tidy -quiet -p "$1" -j "$(nproc)" "^$2/(runtime|generator|db|tuner|tests)/.*\.c$" > "$1/tidy.txt" 2>&1
status=$?
sed 's/\x1b\[[0-9;]*m//g' "$1/tidy.txt" | grep -E ': (error|warning): ' | sort -u
[ $status -eq 0 ] || echo "the paths that lead there: $1/tidy.txt"
exit $status
