"""Debian's python3-confluent-kafka (librdkafka) as a peer of the system tests.

client.py produce  BOOTSTRAP TOPIC [KEY=VALUE ...]             records as frames on standard input, all acknowledged
client.py consume  BOOTSTRAP TOPIC                             every record up to the present end, by assign()
client.py numbered BOOTSTRAP TOPIC PARTITIONS FIRST RATE       numbered records until standard input ends
client.py admin    BOOTSTRAP TOPIC                             creates, lists, asks offsets by time, deletes; says "OK"

The frames are those of record-frames.ts; the lines of `numbered` are those of NumberedProducer.java. No group is used.
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

UNANSWERED_MAX = 20_000
STEP_SECONDS_MAX = 120


def settings_of(arguments):
    return dict(argument.split("=", 1) for argument in arguments)


def read_frames(source):
    while True:
        header = source.readline()
        if not header:
            return
        key_bytes, value_bytes = (int(field) for field in header.split())
        frame = source.read(key_bytes + value_bytes + 1)
        yield frame[:key_bytes], frame[key_bytes : key_bytes + value_bytes]


def produce(bootstrap, topic, *arguments):
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 20}
        | settings_of(arguments)
    )
    failures = []

    def answered(error, _message):
        if error is not None:
            failures.append(str(error))

    for key, value in read_frames(sys.stdin.buffer):
        while True:
            try:
                producer.produce(topic, key=key, value=value, on_delivery=answered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(STEP_SECONDS_MAX)
    if failures or left:
        sys.exit(f"{len(failures)} records failed ({failures[:3]}), {left} unanswered")


def group_free_consumer(bootstrap):
    # librdkafka wants a group id even when nothing is done with the group.
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "check.crcs": True,
        }
    )


def consume(bootstrap, topic):
    consumer = group_free_consumer(bootstrap)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    ends = {}
    for partition in sorted(partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        if high > low:
            ends[partition] = high
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    out = sys.stdout.buffer
    give_up = time.monotonic() + STEP_SECONDS_MAX
    while ends:
        if time.monotonic() > give_up:
            sys.exit(f"partitions not read to their end: {ends}")
        for message in consumer.consume(10_000, timeout=0.5):
            if message.error() is not None:
                raise KafkaException(message.error())
            key, value = message.key() or b"", message.value() or b""
            head = f"{message.partition()} {message.offset()} {len(key)} {len(value)}\n"
            out.write(head.encode() + key + value + b"\n")
            if message.offset() + 1 >= ends.get(message.partition(), sys.maxsize):
                del ends[message.partition()]
    out.flush()
    consumer.close()


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def numbered(bootstrap, topic, partitions, first, rate):
    partitions, first, rate = int(partitions), int(first), int(rate)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": 180_000,
            "socket.timeout.ms": 5_000,
            "topic.metadata.refresh.interval.ms": 5_000,
            "reconnect.backoff.max.ms": 1_000,
        }
    )
    metadata = producer.list_topics(topic, timeout=60)
    leader = metadata.brokers[metadata.topics[topic].partitions[0].leader]
    say(f"LEADER {leader.host}:{leader.port}")
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    unanswered = 0

    def answer_to(number):
        def answered(error, message):
            nonlocal unanswered
            unanswered -= 1
            if error is None:
                say(f"ACK {number} {message.partition()} {message.offset()} {int(time.time() * 1000)}")
            else:
                say(f"FAIL {number} {error}")

        return answered

    sent, start = 0, time.monotonic()
    while not ending.is_set():
        if sent >= (time.monotonic() - start) * rate or unanswered >= UNANSWERED_MAX:
            producer.poll(0.001)
            continue
        number = first + sent
        partition = number % partitions
        try:
            producer.produce(
                topic, key=f"k{partition}", value=str(number), partition=partition, on_delivery=answer_to(number)
            )
            sent, unanswered = sent + 1, unanswered + 1
        except BufferError:
            producer.poll(0.01)
    left = producer.flush(180)
    if left:
        sys.exit(f"{left} records unanswered")
    say(f"END {sent}")


def settle(futures):
    for future in futures.values():
        future.result(timeout=60)


def wait_for(what, condition):
    give_up = time.monotonic() + 30
    while not condition():
        if time.monotonic() > give_up:
            sys.exit(f"not within 30 s: {what}")
        time.sleep(0.1)


def admin(bootstrap, topic):
    client = AdminClient({"bootstrap.servers": bootstrap})
    settle(client.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)]))
    wait_for("the topic has 2 partitions", lambda: partition_count(client, topic) == 2)
    settle(client.create_partitions([NewPartitions(topic, 3)]))
    wait_for("the topic has 3 partitions", lambda: partition_count(client, topic) == 3)
    try:
        settle(client.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)]))
        sys.exit("a topic was created twice")
    except KafkaException as error:
        if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
            raise
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    base = int(time.time() * 1000) - 60_000
    for number in range(100):
        producer.produce(topic, value=str(number), partition=0, timestamp=base + number * 10)
    if producer.flush(60):
        sys.exit("not all records were acknowledged")
    consumer = group_free_consumer(bootstrap)
    for asked, due in [(base - 5, 0), (base, 0), (base + 1, 1), (base + 500, 50), (base + 990, 99), (base + 991, -1)]:
        found = consumer.offsets_for_times([TopicPartition(topic, 0, asked)], timeout=30)[0]
        # librdkafka says "end" where the answer says that there is no such record.
        if found.error is not None or (found.offset != due and not (due == -1 and found.offset < 0)):
            sys.exit(f"offset at time base{asked - base:+d} is {found.offset} ({found.error}), not {due}")
    if consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) != (0, 100):
        sys.exit("the watermarks are not 0 and 100")
    consumer.close()
    settle(client.delete_topics([topic]))
    wait_for("the topic is gone", lambda: topic not in client.list_topics(timeout=30).topics)
    say("OK")


def partition_count(client, topic):
    known = client.list_topics(timeout=30).topics.get(topic)
    return 0 if known is None else len(known.partitions)


if __name__ == "__main__":
    commands = {"produce": produce, "consume": consume, "numbered": numbered, "admin": admin}
    commands[sys.argv[1]](*sys.argv[2:])
