# Every mistake gives one line on standard error, "apq-tune: ..." naming what is wrong, and the right exit status.
tune=$1/apq-tune
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
APQ_CACHE_DIR=$work/cache
export APQ_CACHE_DIR
unset APQ_DB APQ_DEVICE
failed=0

# refuse STATUS TEXT ARGUMENT...: apq-tune with these arguments exits so, and its one line holds TEXT.
refuse() {
  wanted=$1 text=$2
  shift 2
  "$tune" "$@" > "$work/out" 2> "$work/err" < /dev/null
  status=$?
  lines=$(wc -l < "$work/err")
  if [ $status -ne "$wanted" ] || [ "$lines" -ne 1 ] || ! grep -q '^apq-tune: ' "$work/err" ||
     ! grep -qF -e "$text" "$work/err"; then
    failed=1
    printf 'apq-tune %s\n  gave %s, wanted %s and: %s\n' "$*" $status "$wanted" "$text"
    sed 's/^/  | /' "$work/err"
  fi
}

# The command line.
refuse 2 "unknown or ambiguous option '--nosuch'" --nosuch
refuse 2 "unknown or ambiguous option '--nosuch'" --nosuch=3
refuse 2 "unknown or ambiguous option '-z'" -z
refuse 2 "unknown verb 'tuen'" tuen
refuse 2 "option '--bits' needs a value" --bits
refuse 2 "option '--budget' is not for 'list'" list --budget 1m
refuse 2 "'doctor': unexpected argument 'x'" doctor x
refuse 2 "'show': unexpected argument 'b'" show a b
refuse 2 "--bits: 'W0A2': weight bits must be 1 to 8" --bits W0A2
refuse 2 "--bits: 'W2A9': activation bits must be 1 to 8" --bits W2A2,W2A9
refuse 2 "--bits: 'w2': must be like W4A8" --bits w2
refuse 2 "--shape: '-1x4096x4096': sizes must be at least 1" --shape -1x4096x4096
refuse 2 "--shape: '16x0x64': sizes must be at least 1" --shape 16x0x64
refuse 2 "--shape: '4294967297x64': sizes must be below 2^31" --shape 4294967297x64
refuse 2 "--shape: '64': must be NxK or MxNxK" --shape 64
refuse 2 "--m: '0': sizes must be at least 1" --m 0
refuse 2 "--out: 'f64': must be i32, f16, bf16 or f32" --out f64
refuse 2 "--budget: '10x': must be a time" --budget 10x
refuse 2 "--budget: '-5m': must be a time" --budget -5m
refuse 2 "--budget: '0': must be above 0" --budget 0
refuse 2 "--jobs: '0': must be 1 to 1024" --jobs 0
refuse 2 "--top: 'many': must be 1 to" --top many
refuse 2 "--objective: 'fast': must be burst or sustained" --objective fast
refuse 2 "--seed: '-1': must be an integer" --seed -1
refuse 2 "--db: the value is empty" --db ""
refuse 2 "list: nothing is called 'kernels'" list kernels
refuse 2 "'show' needs a problem" show
refuse 2 "'explain' needs a problem" explain
refuse 2 "weight bits p=9" explain k=64,m=1,n=64,out=f16,p=9,q=1
refuse 2 "'k' is missing" show m=1,n=64,out=f16,p=2,q=1
refuse 2 "tile_m=17 is not in its domain" show family=bmma,tile_m=17
refuse 2 "no family 'nosuch'" verify family=nosuch
refuse 2 "'import' needs a file" import

# Devices.
refuse 1 "no emulated arch 'sm_1'" --device emu:sm_1
refuse 1 "no device is called 'tpu'" --device tpu
refuse 1 "'cuda:x': 'x' is not a GPU's number" --device cuda:x
[ -e /dev/nvidiactl ] || refuse 1 "cuda" --device cuda
refuse 1 "bench needs a GPU" bench --device emu

# Spaces.  emu: a GPU is not needed to refuse them.
APQ_DEVICE=emu
export APQ_DEVICE
space() {
  cat > "$work/space.lua"
}
refuse 1 "no built-in space 'nosuch'; there are default, quick, bmma, imma" --space nosuch
refuse 1 "$work/gone.lua" --space "$work/gone.lua"
space <<'LUA'
return space {
  family = "bmma",
  knobs = { tile_m = 16, },,
}
LUA
refuse 1 "$work/space.lua:3: " --space "$work/space.lua"
space <<'LUA'
return space { family = "bmma",
  knobs = { tile_z = { 16 } } }
LUA
refuse 1 "space.lua:2: family 'bmma' has no knob 'tile_z'" --space "$work/space.lua"
space <<'LUA'
local n = 0
while true do n = n + 1 end
LUA
refuse 1 "space.lua:2: the script runs too long" --space "$work/space.lua"
space <<'LUA'
return space { family = "bmma", constraints = {
  { "slow", function() while true do end end } } }
LUA
refuse 1 "constraint 'slow': $work/space.lua:2: the script runs too long" space "$work/space.lua" --bits W2A2 --shape 16x64x512
space <<'LUA'
return space { family = "bmma", constraints = {
  { "none", function() return false end } } }
LUA
refuse 1 "space.lua:2: space 'space' has no candidate" space "$work/space.lua" --bits W2A2 --shape 16x64x512 --json
space <<'LUA'
local s = "x"
while true do s = s .. s end
LUA
refuse 1 "space.lua:2: the script uses too much memory" --space "$work/space.lua"
refuse 1 "no model 'gpt-9'; there are llama-2-13b" --model gpt-9

# Databases.
refuse 1 "no database '$work/none.db'" list --db "$work/none.db"
refuse 1 "no database '$work/none.db'" verify --db "$work/none.db"
refuse 1 "no database '$work/none.db'" export --db "$work/none.db"
refuse 1 "$work/none.txt" import "$work/none.txt"
printf 'this is not a database, it is a text of some length that SQLite will not accept' > "$work/bad.db"
refuse 1 "$work/bad.db" list --db "$work/bad.db"
refuse 1 "$work/bad.db" export --db "$work/bad.db"
grep -q 'this is not a database' "$work/bad.db" || { echo 'reading changed a damaged database'; failed=1; }
printf 'apq-database\t1\nnonsense\n' > "$work/bad.txt"
refuse 1 "$work/bad.txt" import "$work/bad.txt" --db "$work/new.db"

# Standard output that cannot be written.
if [ -e /dev/full ]; then
  "$tune" --help > /dev/full 2> "$work/err"
  if [ $? -ne 1 ] || ! grep -q 'standard output cannot be written' "$work/err"; then
    echo 'a full standard output goes unnoticed'
    failed=1
  fi
fi
exit $failed
