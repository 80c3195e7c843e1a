#!/bin/sh
# A real Apache Kafka on 127.0.0.1, from Maven Central: for a trial, for one machine, for the tests.
#
#   kafka.sh fetch     get the jars (once, about 45 MB, into the cache)
#   kafka.sh start     format the storage if it is new, start in the background, return when it answers
#   kafka.sh stop      stop it in order
#   kafka.sh clean     remove what it stored; it must not run
#   kafka.sh run       as start, but in the foreground, in this very process
#
# Settings, from the environment:
#   KAFKA_PORT          9092; the controller takes KAFKA_CONTROLLER_PORT, by default the next one
#   KAFKA_DATA          ~/.local/share/factory-ear/kafka: what it stores, server.log and its process id
#   KAFKA_JARS          ~/.cache/factory-ear/kafka/VERSION
#   KAFKA_HEAP          512m
#   KAFKA_PROTOCOL      PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL
#   KAFKA_EXTRA         a file of more properties: what TLS and SASL need
#   KAFKA_SCRAM         "name=NAME,password=PASSWORD": a first SCRAM-SHA-512 user, made when the storage is formatted
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")
port=${KAFKA_PORT:-9092}
controller_port=${KAFKA_CONTROLLER_PORT:-$((port + 1))}
data=${KAFKA_DATA:-$HOME/.local/share/factory-ear/kafka}
jars=${KAFKA_JARS:-$HOME/.cache/factory-ear/kafka/$version}
pid_file=$data/kafka.pid

say() { echo "kafka: $*"; }
fail() { echo "kafka: $*" >&2; exit 1; }

fetch() {
    [ -e "$jars/.complete" ] && return
    command -v java >/dev/null || fail "java is absent: install a Java runtime, 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
    command -v mvn >/dev/null || fail "mvn is absent: install Maven (Debian: apt-get install maven)"
    mkdir -p "$jars"
    mvn -q -B -f "$here/pom.xml" package -Djars="$jars" >"$jars/fetch.log" 2>&1 \
        || fail "Maven could not fetch Kafka $version: $(grep -m1 ERROR "$jars/fetch.log" || echo "see $jars/fetch.log")"
    touch "$jars/.complete"
}

settings() {
    mkdir -p "$data"
    sed -e "s|@port@|$port|g" -e "s|@controller_port@|$controller_port|g" -e "s|@data@|$data|g" \
        -e "s|@protocol@|${KAFKA_PROTOCOL:-PLAINTEXT}|g" \
        "$here/server.properties" >"$data/server.properties"
    [ -z "${KAFKA_EXTRA:-}" ] || cat "$KAFKA_EXTRA" >>"$data/server.properties"
}

java_with() {
    heap=$1
    shift
    # The first compiler stage alone starts in half the time; a server that runs for days may have the second.
    set -- -Xmx"$heap" -XX:+UseSerialGC ${KAFKA_JAVA:-} \
        -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$jars/*" "$@"
    exec java "$@"
}

format() {
    [ -e "$data/log/meta.properties" ] && return
    if [ -n "${KAFKA_SCRAM:-}" ]; then set -- --add-scram "SCRAM-SHA-512=[$KAFKA_SCRAM]"; else set --; fi
    # 16 bytes in URL-safe base64, as Kafka wants its cluster id.
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c 1-22)
    (java_with 128m kafka.tools.StorageTool format --cluster-id "$id" --config "$data/server.properties" "$@") \
        >"$data/format.log" 2>&1 || fail "cannot format $data/log: $(tail -n 1 "$data/format.log")"
}

alive() { [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

answers() {
    grep -q "Kafka Server started" "$data/server.log"
}

start() {
    alive && { say "runs already, process $(cat "$pid_file")"; return; }
    fetch
    settings
    format
    : >"$data/server.log"
    (java_with "${KAFKA_HEAP:-512m}" kafka.Kafka "$data/server.properties") >>"$data/server.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    tries=0
    until answers; do
        alive || fail "the server ended while it started: $(grep -m1 -E 'ERROR|FATAL|Exception' "$data/server.log" || tail -n 1 "$data/server.log")"
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "no answer within 60 s: see $data/server.log"
        sleep 0.2
    done
    say "Apache Kafka $version on 127.0.0.1:$port, data in $data"
    say "use it: url = \"kafka://127.0.0.1:$port\" under [broker]; stop it: make kafka-stop"
}

stop() {
    alive || { say "does not run"; rm -f "$pid_file"; return; }
    pid=$(cat "$pid_file")
    kill "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || { kill -9 "$pid"; break; }
        sleep 0.2
    done
    rm -f "$pid_file"
    say "stopped"
}

clean() {
    alive && fail "it runs: stop it first (make kafka-stop)"
    [ ! -e "$data" ] || [ -e "$data/server.properties" ] || fail "$data is not a folder of ours: remove it yourself"
    rm -rf "$data"
    say "removed $data"
}

run() {
    fetch
    settings
    format
    java_with "${KAFKA_HEAP:-512m}" kafka.Kafka "$data/server.properties"
}

case ${1:-} in
    fetch) fetch && say "Apache Kafka $version in $jars" ;;
    start) start ;;
    stop) stop ;;
    clean) clean ;;
    run) run ;;
    *) fail "use one of fetch, start, stop, clean, run" ;;
esac
