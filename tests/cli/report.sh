# The report: as a table, as JSON, and as a page, over a sweep of m tuned on the emulated device.
tune=$1/apq-tune
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
APQ_CACHE_DIR=$work/cache APQ_DEVICE=emu:sm_80
export APQ_CACHE_DIR APQ_DEVICE
unset APQ_DB
failed=0
tab=$(printf '\t')

complain() {
  failed=1
  echo "$1"
  sed 's/^/  1| /' "$work/out"
  sed 's/^/  2| /' "$work/err"
}

# run STATUS ARGUMENT...: runs apq-tune into $work/out and $work/err.
run() {
  wanted=$1
  shift
  "$tune" "$@" > "$work/out" 2> "$work/err" < /dev/null
  status=$?
  [ $status -eq "$wanted" ] || complain "apq-tune $*: exit $status, wanted $wanted"
}

# has FILE PATTERN...: each pattern matches a line.
has() {
  file=$work/$1
  shift
  for pattern; do
    grep -qE -e "$pattern" "$file" || complain "no line like: $pattern"
  done
}

# count NUMBER PATTERN FILE: so many lines match.
count() {
  found=$(grep -cE -e "$2" "$work/$3")
  [ "$found" -eq "$1" ] || complain "$found lines like $2 in $3, wanted $1"
}

# parse FILE: it is well-formed, as far as this machine can tell.
parse() {
  if command -v python3 > /dev/null; then
    python3 - "$work/$1" << 'EOF' > "$work/out" 2> "$work/err" || complain "$1 is not well-formed"
import json, sys, xml.etree.ElementTree as tree
if open(sys.argv[1]).read(1) == "[": json.load(open(sys.argv[1])); sys.exit()
for element in tree.parse(sys.argv[1]).iter():
    assert element.tag not in ("script", "link", "img", "iframe"), element.tag
    for name, value in element.items(): assert name not in ("href", "src") and not name.startswith("on"), name
EOF
  fi
}

# Nothing tuned yet.
run 1 report
has err "^apq-tune: no database '.*/apq.db'"
run 1 report "$work/page.html"
[ ! -e "$work/page.html" ] || complain 'a page about no database'
printf 'apq-database\t1\n' > "$work/empty"
printf 'checksum\t%s\n' "$(sha256sum < "$work/empty" | cut -d' ' -f1)" >> "$work/empty"
run 0 import "$work/empty" --db "$work/empty.db"
run 3 report --db "$work/empty.db"
has err '^apq-tune: there are no winners to report on$'
run 3 report --db "$work/empty.db" --json
has out '^\[\]$'
run 3 report --db "$work/empty.db" "$work/page.html"
[ ! -e "$work/page.html" ] || complain 'a page about an empty database'

run 0 --space quick --bits W2A2 --shape 64x512 --m 1,16,40 --top 3
run 0 --space quick --bits W4A8 --shape 16x64x512 --top 2

# As a table.  Modelled times agree with the model, but for ties within 1 %, which go to the smaller key.
run 0 report
has out '^gpu +problem +kernels +time +TOPS +correlation +place +first choice +objective +kernel$' \
  '^emu:sm_80  W2A2 1x64x512 f16 +[0-9]+ +[0-9.]+ us +[0-9.]+ +1\.00 +[1-9] +(1\.00|0\.99)  modelled +[a-z]' \
  '^emu:sm_80  W4A8 16x64x512 f16 ' '^modelled: nothing was measured'
count 4 '^emu:sm_80 ' out
run 0 report --bits W2A2 --m 16,40
count 2 '^emu:sm_80  W2A2 (16|40)x64x512' out
run 0 report --shape 16x64x512
count 2 '^emu:sm_80 ' out
run 0 report --device emu:sm_80
count 4 '^emu:sm_80 ' out
run 3 report --device emu:sm_90a
has err 'no winners to report on among those selected'
run 3 report --bits W1A1
run 1 report --device emu:sm_1
has err "no emulated arch 'sm_1'"
run 1 report --model nothing
has err "^apq-tune: --model: "

# For programs.
run 0 report --json --bits W2A2
count 3 '"gpu": "emu:sm_80"' out
count 3 '"rank_correlation": 1,?$' out
count 3 '"winner_place": [1-9],' out
has out '"kernels": [0-9]+' '"winner": "family=' '"first_choice": "family=' '"first_choice_ratio": (1|0\.99[0-9]*)$' '"current": true' '"tops": '
cp "$work/out" "$work/report.json"
parse report.json

# As a page.
run 0 report "$work/page.html"
has err "^apq-tune: $work/page.html: 4 problems\$"
[ ! -s "$work/out" ] || complain 'a page in a file, and something on standard output'
parse page.html
has page.html '^<!DOCTYPE html>$' '<td>emu:sm_80</td><td>sm_80</td>' 'prefers-color-scheme:dark' '<td>W4A8 16x64x512 f16</td>' '^</html>$'
count 2 '<section>' page.html
count 2 '</section>' page.html
# Both groups have a plot of the model, only the one with several m a sweep; all plots are whole.
count 3 '<figure><svg ' page.html
count 3 '</figcaption></figure>|</figcaption>$' page.html
count 1 'Time over m\. Fastest: [a-z]+ at m = 1( |,)' page.html
[ "$(grep -o '<svg ' "$work/page.html" | wc -l)" -eq "$(grep -o '</svg>' "$work/page.html" | wc -l)" ] || complain 'an open svg'
! grep -qiE '<script|<link|@import|url\(|href=|src=|nan|inf[^o]' "$work/page.html" || complain 'the page needs something from elsewhere, or has no number'
cp "$work/page.html" "$work/first.html"
run 0 report "$work/page.html" --quiet
[ ! -s "$work/err" ] || complain 'a note in spite of --quiet'
cmp -s "$work/page.html" "$work/first.html" || complain 'two pages of one database differ'
run 0 report -
cmp -s "$work/out" "$work/first.html" || complain 'another page on standard output'
run 0 report "$work/page.html" --json --bits W4A8
count 1 '"gpu"' out
run 2 report - --json
has err 'cannot both go to standard output'
run 2 report a b
has err "unexpected argument 'b'"

# Places where no page can be.
run 1 report "$work/missing/page.html"
has err "^apq-tune: .*'$work/missing/page.html"
: > "$work/file"
run 1 report "$work/file/page.html"
has err "$work/file/page.html"
run 1 report "$work"
has err "'$work'"

# Names from elsewhere are text, whatever they hold; templates that have changed are told apart.
name='emu:<script>alert("\&amp;")</script>\\x01' # for sed
run 0 export "$work/export.txt"
sed -e '/^checksum/d' -e "s|${tab}emu:sm_80${tab}|${tab}$name${tab}|" -e "s|${tab}[0-9a-f]\{64\}${tab}|${tab}$(printf '%064d' 7)${tab}|" \
  "$work/export.txt" > "$work/hostile.txt"
printf 'checksum\t%s\n' "$(sha256sum < "$work/hostile.txt" | cut -d' ' -f1)" >> "$work/hostile.txt"
db="$work/a<b>&\"c'.db"
run 0 import "$work/hostile.txt" --db "$db"
run 0 report --db "$db" "$work/page.html"
parse page.html
has page.html 'emu:&lt;script&gt;alert\(&quot;&amp;amp;&quot;\)&lt;/script&gt;' 'a&lt;b&gt;&amp;&quot;c&#39;\.db' 'modelled, old'
! grep -q '<script' "$work/page.html" || complain 'markup from the database'
run 0 report --db "$db"
has out '  modelled, old  ' '^old: the kernel.s template has changed'
run 0 report --db "$db" --json
has out '"current": false'
cp "$work/out" "$work/report.json"
parse report.json
exit $failed
