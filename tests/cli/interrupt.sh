# Ctrl-C while tuning: exit status 130, a sound database, and the next run goes on.
tune=$1/apq-tune
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
APQ_CACHE_DIR=$work/cache APQ_DEVICE=emu
export APQ_CACHE_DIR APQ_DEVICE
unset APQ_DB

"$tune" --space quick --bits all --shape 16x64x512 > "$work/out" 2> "$work/err" &
pid=$!
# Until the first problem is finished.
for i in $(seq 200); do
  grep -q ': tuned' "$work/err" && break
  sleep 0.1
done
kill -INT $pid
wait $pid
status=$?
if [ $status -ne 130 ]; then
  echo "exit status $status after an interrupt"
  cat "$work/err"
  exit 1
fi
"$tune" list > "$work/list" || exit 1
grep -q 'W1A1 16x64x512' "$work/list" || { echo 'the finished problem is not in the database'; exit 1; }
"$tune" --bits W1A1 --shape 16x64x512 --space quick 2> "$work/err" > "$work/out" || exit 1
grep -q '0 tuned, 1 already tuned' "$work/err" || { echo 'the finished problem is tuned again'; cat "$work/err"; exit 1; }
