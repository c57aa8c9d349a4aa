#!/usr/bin/env bash
# Captures the goldens of this folder anew. Needs Java 17, kcat, a directory with the jars of Apache Kafka 4.3.1 and its
# dependencies (Maven: org.apache.kafka:kafka_2.13 and kafka-tools), and for all but java-batches.json a new, empty broker.
#
#   capture.sh JARS                 java-batches.json
#   capture.sh JARS HOST:PORT      the others as well
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
jars=${1:?a directory with jars} broker=${2:-}

java -cp "$jars/*" Capture.java > java-batches.json
[[ -n $broker ]] || exit 0

create() { # TOPIC [CONFIG…]
  local topic=$1 config=()
  shift
  for line in "$@"; do config+=(--config "$line"); done
  java -cp "$jars/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$broker" --create --topic "$topic" \
    --partitions 1 "${config[@]}"
}
node -e '
  import("./verdict-cases.ts").then(({ topics }) => {
    for (const [name, config] of Object.entries(topics)) {
      console.log([name, ...Object.entries(config).map((pair) => pair.join("="))].join(" "))
    }
  })' | while read -r -a words; do create "${words[@]}" < /dev/null; done
node capture-verdicts.ts "$broker" > broker-verdicts.json

names=()
for codec in none gzip snappy lz4 zstd; do
  names+=("rdkafka-$codec")
  create "rdkafka-$codec"
  for index in $(seq 1 300); do echo "key-$((index % 7)):value number $index of librdkafka"; done |
    kcat -P -b "$broker" -t "rdkafka-$codec" -p 0 -K: -z "$codec" -H trace=abc -H empty= -X linger.ms=200
done
node capture-fetched.ts "$broker" "${names[@]}" > librdkafka.json
