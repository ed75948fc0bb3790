#!/bin/sh
# The program of a task: counts the words of a text. `slowly` are the seconds that it takes.
set -eu
input=$(cat)
sleep "$(printf '%s' "$input" | jq '.slowly // 0')"
words=$(printf '%s' "$input" | jq -r .text | wc -w)
[ "$words" -gt 0 ] || { echo "the text is empty" >&2; exit 3; }
printf '{"words": %s}\n' "$words"
