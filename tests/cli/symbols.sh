# The libraries show what apq.h declares and nothing else; every global name inside begins with apq_.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^APQ_API.*[ *]\(apq_[a-z0-9_]*\)(.*/\1/p' "$2/runtime/include/apq.h" | sort > "$work/declared"
nm -D --defined-only "$1/runtime/libapq.so" | awk '{ print $NF }' | sort > "$work/exported"
[ -s "$work/declared" ]
if ! diff "$work/declared" "$work/exported"; then
  echo 'apq.h declares "<", libapq.so exports ">"'
  exit 1
fi

nm -g --defined-only "$1/runtime/libapq.a" | awk 'NF == 3 && $3 !~ /^(__odr_asan\.)?apq_/ { print $3 }' > "$work/foreign"
if [ -s "$work/foreign" ]; then
  echo 'global names without the prefix:'
  cat "$work/foreign"
  exit 1
fi
