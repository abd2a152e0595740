#!/bin/sh
# tutti-schedule from outside: what it prints and how it exits. Usage: tutti_schedule_test.sh PROGRAM
set -u
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# expect EXIT_CODE TEXT ARGUMENTS...: the program exits so, and what it prints contains the text.
expect() {
  code=$1 text=$2
  shift 2
  "$program" "$@" >"$folder/out" 2>&1
  got=$?
  if [ "$got" -ne "$code" ] || ! grep -qF -- "$text" "$folder/out"; then
    echo "tutti-schedule $*: expected exit code $code and '$text', got $got and:"
    cat "$folder/out"
    failed=1
  fi
}

expect 0 "all_reduce      ring" list
expect 0 "recv_reduce_copy_send  final" show all_reduce ring --ranks 3 --rank 1
expect 0 "reduce                 final" show all_reduce ring --ranks 3 --rank 1 --plain
expect 0 "in_place 1" show all_gather direct --ranks 2 --in-place
expect 0 "root 1" show broadcast chain --ranks 2 --root 1 --pieces 3
expect 0 "ok  minimum K 2 (before fusing 1)" verify --collective all_reduce --algorithm ring --ranks 1..5,7
expect 0 "verify" --help

expect 2 "expected a command" 
expect 2 "bogus" bogus
expect 2 "expected numbers from 1 to 65536" verify --ranks 3..1
expect 2 "expected numbers from 1 to 65536" verify --ranks 0
expect 2 "expected numbers from 1 to 65536" verify --ranks 1,,2
expect 2 "expected numbers from 1 to 65536" verify
expect 2 "no algorithm of all_reduce is called 'rings'; there are two_shot" show all_reduce rings --ranks 2
expect 2 "no collective is called 'allreduce'" verify --collective allreduce --ranks 2
expect 2 "show needs --ranks" show all_reduce ring
expect 2 "--rank must be from 0 to 1" show all_reduce ring --ranks 2 --rank 2
expect 2 "cannot read" verify --file "$folder/absent"

# A file with the schedules of all ranks: right, spoiled, cut short and unreadable.
"$program" show all_reduce ring --ranks 3 >"$folder/right"
expect 0 "ok  minimum K 2" verify --file "$folder/right"
expect 1 "deadlock: rank" verify --file "$folder/right" --slots 1
sed 's/final //' "$folder/right" >"$folder/spoiled"
expect 1 "not final once: rank 0" verify --file "$folder/spoiled"
head -n 8 "$folder/right" >"$folder/short"
expect 2 "expected the schedules of 3 ranks, got 1" verify --file "$folder/short"
# Schedules with rows: all but what the outputs hold.
cat >"$folder/rows" <<'END'
schedule rows nranks 2 rank 0
lane 0
  send                   input{0 2} -> 1
schedule rows nranks 2 rank 1
lane 0
  recv_rows              copy 0:output{0 1} -> output{0..2} {0:0..1 ()}
END
expect 0 "ok  minimum K 1" verify --file "$folder/rows"
sed 's/input{0 2}/input{0..2}/' "$folder/rows" >"$folder/more_rows"
expect 1 "expected  3 rows, as rank 0 sends in its step 0" verify --file "$folder/more_rows"
sed '10s/.*/nonsense/' "$folder/right" >"$folder/unreadable"
expect 2 "line 10: expected" verify --file "$folder/unreadable"

exit $failed
