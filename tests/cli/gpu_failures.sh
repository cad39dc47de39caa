# A GPU on which no kernel loads (the tests' own driver): every failure is told and recorded, and nothing hangs or crashes.
fake=$1/tests/fake_cuda
[ -e "$fake/libcuda.so.1" ] || { echo 'skipped: this build has no CUDA backend'; exit 77; }
tune=$1/apq-tune
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
APQ_CACHE_DIR=$work LD_LIBRARY_PATH=$fake
export APQ_CACHE_DIR LD_LIBRARY_PATH
unset APQ_DB APQ_DEVICE
select='--bits W2A2 --shape 16x64x512'
"$tune" doctor > "$work/out" 2> "$work/err"
grep -q '^ok  *nvrtc' "$work/out" || { echo 'skipped: there is no NVRTC'; exit 77; }
failed=0

# run STATUS TEXT ARGUMENT...: exit status and a text on one of the two outputs.
run() {
  wanted=$1 text=$2
  shift 2
  "$tune" "$@" > "$work/out" 2> "$work/err"
  status=$?
  if [ $status -ne "$wanted" ] || ! cat "$work/out" "$work/err" | grep -qF -e "$text"; then
    failed=1
    printf 'apq-tune %s\n  gave %s, wanted %s and: %s\n' "$*" $status "$wanted" "$text"
    cat "$work/out" "$work/err"
  fi
}

run 1 'cuModuleGetFunction' doctor
run 3 'nothing is tuned for Fake GPU 0' bench
run 3 'none of ' --space quick --top 2 $select
run 3 'known to fail' --space quick --top 2 $select
run 0 'cuModuleGetFunction' list failures
run 3 'there are no winners' list
run 0 'model: not tuned' explain $select
run 3 'cuModuleGetFunction' bench $select
run 3 '"status": "NOT_FOUND"' bench $select --json
run 1 'no device cuda:7: there are 2' --device cuda:7
exit $failed
