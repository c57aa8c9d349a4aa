import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * How fast one consumer reads a topic from its beginning, without a consumer group.
 *
 * <p>Kafka's own consumer-perf joins a group; this program measures the same loop on partitions that it assigns to
 * itself. Usage: AssignConsumerPerf BOOTSTRAP TOPIC RECORDS [KEY=VALUE ...]. Prints one line
 * "records bytes milliseconds", measured from the first poll on, so the start of the JVM is not in it.
 */
public final class AssignConsumerPerf {
  /** A poll that brings nothing for so long in a row is a failure, not an end. */
  private static final long SILENT_MS_MAX = 60_000;

  public static void main(String[] args) {
    String topic = args[1];
    long wanted = Long.parseLong(args[2]);
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[0]);
    settings.put("enable.auto.commit", "false");
    settings.put("check.crcs", "false");
    settings.put("receive.buffer.bytes", Integer.toString(2 * 1024 * 1024));
    for (int i = 3; i < args.length; i++) {
      String[] setting = args[i].split("=", 2);
      settings.put(setting[0], setting[1]);
    }
    var bytesOf = new ByteArrayDeserializer();
    try (var consumer = new KafkaConsumer<>(settings, bytesOf, bytesOf)) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      long records = 0;
      long bytes = 0;
      long start = System.nanoTime();
      long heard = start;
      while (records < wanted) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
          records++;
          bytes += record.serializedValueSize() + Math.max(0, record.serializedKeySize());
          heard = 0;
        }
        long now = System.nanoTime();
        if (heard == 0) {
          heard = now;
        }
        if ((now - heard) / 1_000_000 > SILENT_MS_MAX) {
          System.err.println("no record for " + SILENT_MS_MAX + " ms after " + records + " of " + wanted);
          System.exit(1);
        }
      }
      System.out.println(records + " " + bytes + " " + (System.nanoTime() - start) / 1_000_000);
    }
  }
}
