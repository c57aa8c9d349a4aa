import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An idempotent producer that numbers its records and says which were acknowledged.
 *
 * <p>Usage: NumberedProducer BOOTSTRAP TOPIC PARTITIONS FIRST RECORDS_PER_SECOND [KEY=VALUE ...]. Number n goes to
 * partition n modulo PARTITIONS, so that each partition must hold its numbers in rising order. It runs until its
 * standard input ends. One line per event: "ACK number partition offset milliseconds", "FAIL number reason",
 * "LEADER host:port" of partition 0 once it knows it, "END sent" at last.
 */
public final class NumberedProducer {
  /** Records sent and not yet answered. More would only sit in the buffers of the producer during an outage. */
  private static final int UNANSWERED_MAX = 20_000;

  public static void main(String[] args) throws Exception {
    String topic = args[1];
    int partitions = Integer.parseInt(args[2]);
    long first = Long.parseLong(args[3]);
    long perSecond = Long.parseLong(args[4]);
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[0]);
    settings.put("acks", "all");
    settings.put("enable.idempotence", "true");
    settings.put("linger.ms", "5");
    settings.put("delivery.timeout.ms", "180000");
    settings.put("request.timeout.ms", "5000");
    settings.put("metadata.max.age.ms", "5000");
    settings.put("max.block.ms", "120000");
    for (int i = 5; i < args.length; i++) {
      String[] setting = args[i].split("=", 2);
      settings.put(setting[0], setting[1]);
    }
    AtomicBoolean ending = endOfInput();
    Semaphore unanswered = new Semaphore(UNANSWERED_MAX);
    long sent = 0;
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      var leader = producer.partitionsFor(topic).get(0).leader();
      say("LEADER " + leader.host() + ":" + leader.port());
      long start = System.nanoTime();
      while (!ending.get()) {
        long due = (System.nanoTime() - start) / 1_000_000 * perSecond / 1_000;
        if (sent >= due) {
          Thread.sleep(1);
          continue;
        }
        if (!unanswered.tryAcquire()) {
          Thread.sleep(1);
          continue;
        }
        long number = first + sent++;
        int partition = (int) (number % partitions);
        var record = new ProducerRecord<>(topic, partition, "k" + partition, Long.toString(number));
        producer.send(record, (answer, error) -> {
          unanswered.release();
          if (error == null) {
            say("ACK " + number + " " + partition + " " + answer.offset() + " " + System.currentTimeMillis());
          } else {
            say("FAIL " + number + " " + error.toString().replace('\n', ' '));
          }
        });
      }
      producer.flush();
      producer.close(Duration.ofSeconds(30));
    }
    say("END " + sent);
  }

  private static AtomicBoolean endOfInput() {
    AtomicBoolean ending = new AtomicBoolean();
    Thread reader = new Thread(() -> {
      try {
        while (System.in.read() >= 0) {
          // only its end matters
        }
      } catch (java.io.IOException error) {
        // the same as the end
      }
      ending.set(true);
    });
    reader.setDaemon(true);
    reader.start();
    return ending;
  }

  private static void say(String line) {
    synchronized (System.out) {
      System.out.println(line);
      System.out.flush();
    }
  }
}
