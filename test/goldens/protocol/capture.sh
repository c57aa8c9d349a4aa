#!/bin/sh
# Captures the goldens of this folder anew from Kafka's own Java classes. Needs Java 17 and Maven; see README.md.
# capture.sh --messages DIR only puts Kafka's message descriptions (common/message/*.json of the same jar) into DIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
jars=$(mktemp -d)
trap 'rm -rf "$jars"' EXIT
mvn -q -B -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$jars"
if [ "${1:-}" = "--messages" ]; then
  mkdir -p "$2"
  cd "$2"
  jar xf "$jars"/kafka-clients-*.jar common/message
  mv common/message/*.json .
  rm -r common
else
  java -cp "$jars/*" "$here/Capture.java" "$here"
fi
