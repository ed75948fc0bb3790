#!/bin/sh
# A worker: takes tasks of an activity, runs a program for each, and answers with what it printed.
#
#   worker.sh ACTIVITY PROGRAM [ARGUMENT…]
#
# The program gets the task's input on standard input and prints its output, both JSON. If it ends with
# another code than 0 the task fails with Worker.Failed and what the program wrote to standard error.
#
# STEPWELL_URL     where the server is            STEPWELL_TOKEN_FILE  a file with its token, if it wants one
# STEPWELL_WORKER  how the history calls us       STEPWELL_BEAT        seconds between two heartbeats
#
# Needs curl and jq. Any number of them may run, on any machine that reaches the server.
set -u
activity=$1
shift
server=${STEPWELL_URL:-http://127.0.0.1:7420}
name=${STEPWELL_WORKER:-$(hostname)}
beat=${STEPWELL_BEAT:-1}
umask 077
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
: > "$dir/auth"
if [ -n "${STEPWELL_TOKEN_FILE:-}" ]; then
    # In a file: everybody may read the words of a command line.
    printf 'authorization: Bearer %s\n' "$(cat "$STEPWELL_TOKEN_FILE")" > "$dir/auth"
fi

say() { echo "$name: $*" >&2; }

# Posts to the server and prints the status, 000 when nobody is there. The answer is in $dir/answer.
post() {
    curl -s -o "$dir/answer" -w '%{http_code}' -X POST -H "@$dir/auth" -H 'content-type: application/json' "$@" || :
}

# Gives an answer to the task, however long the server is away: it is the same task when it is back.
answer() {
    while :; do
        case $(post --data-binary "@$2" "$server/v1/tasks/$token/$1") in
            204) say "the task is answered: $1"; return ;;
            404 | 409) say "the task is over without us"; return ;;
            4*) say "refused: $(cat "$dir/answer")"; return ;;
        esac
        sleep 1
    done
}

while :; do
    case $(post "$server/v1/activities/$activity/poll?wait=20&worker=$name") in
        200) ;;
        204) continue ;;
        4*) say "refused: $(cat "$dir/answer")"; exit 1 ;;
        *) sleep 1; continue ;;
    esac
    token=$(jq -r .token "$dir/answer")
    jq .input "$dir/answer" > "$dir/input"
    rm -f "$dir/code"
    # In a session of its own, so that all of it can be ended.
    setsid sh -c 'code=$1; shift; "$@"; echo $? > "$code.new"; mv "$code.new" "$code"' sh "$dir/code" "$@" \
        < "$dir/input" > "$dir/output" 2> "$dir/errors" &
    program=$!
    say "task taken, program $program"
    until [ -e "$dir/code" ]; do
        case $(post "$server/v1/tasks/$token/heartbeat") in
            404 | 409)
                # Cancelled, timed out, or another one's by now.
                say "the task is over: program $program is ended"
                kill -s KILL -- "-$program" 2>/dev/null
                wait "$program" 2>/dev/null
                continue 2
                ;;
        esac
        sleep "$beat"
    done
    wait "$program"
    if [ "$(cat "$dir/code")" = 0 ]; then
        answer succeed "$dir/output"
    else
        jq -n --rawfile cause "$dir/errors" '{error: "Worker.Failed", cause: $cause}' > "$dir/failure"
        answer fail "$dir/failure"
    fi
done
